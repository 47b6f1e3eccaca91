"""What cannot be done without an extra, and which: beside a campaign `e.toml` and a deployment `d.toml`."""

NEEDS = {
    "stack up e.toml --data s": "stack",
    "stack status --data s": "stack",
    "stack down --data s": "stack",
    "demo --stack": "stack",
    "bench": "stack",
    "drill faults": "stack",
    "drill sale-on-a-stack": "stack",
    "demo --stack --kind sale": "stack",
    "console --data d": "console",
    "user list --data d": "console",
    "login l.toml": "login",
    "gate --deploy d.toml": "scaled",
    "recorder --deploy d.toml --set s1": "scaled",
    "settle --deploy d.toml": "scaled",
    "control --deploy d.toml": "scaled",
    "query --deploy d.toml": "scaled",
    "found --deploy d.toml": "scaled",
    "reconcile --deploy d.toml": "scaled",
    "export grants --deploy d.toml": "scaled",
}
