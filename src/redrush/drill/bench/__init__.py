"""`redrush bench`: figures against peers on this machine, as ratios within one run.

Absolute figures drift with the machine; a ratio between two servers that took turns on the same core within seconds
of each other does not. So everything that can be is measured against a peer: nginx `return 200` for what HTTP costs
at all, nginx + Lua + Redis for how flash sales are usually built, uvicorn for how Python is usually served.

| module | what |
|---|---|
| `run` | the entry: options in, `Report` out |
| `report` | the table and the JSON |
| `figures` | bars, aims, verdicts, pairs and turns; pure |
| `measuring` | what a measurement is, and contenders in turns |
| `losers` `grabs` `own_http` `memory` `restart` `splitting` `registered` `open_loop` | one measurement each |
| `valkey_grabs` `scaling` `planner` | the same for the scaled form |
| `subject` `peers` `asgi` | redrush and its peers as child processes |
| `sets` `recording` | the scaled form as child processes: Valkey servers and gates, recorder and PostgreSQL |
| `wrk` (with `load.lua`), `browser` | the load, and the requests in it |
| `processes` `tools` `conditions` | pinned children, required programs, what the machine is |
"""
