"""The peers: what redrush is compared with, as real processes with the configuration files of `peers/`.

Where there is a choice, it is made in favour of the peer, so that a ratio is a floor:
- nginx `return 200` does nothing but HTTP: no ticket, no user, no answer of its own.
- nginx + Lua + Redis trusts the user id in the ticket without checking its MAC, signs no receipt, and answers before
  the grant is on a disk (`appendfsync everysec`). nginx has the server's core for itself; Redis shares the other one
  with wrk, where there is time to spare: on the server's core it would take about a third of nginx's time.
"""

import hashlib
import string
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from redrush.drill.bench.tools import NGINX_MODULES, Found, Tool
from redrush.processes.failure import ProcessFailed
from redrush.processes.loopback import free_port
from redrush.processes.pinned import Child, Cores, Target


class PeerFile(string.Template):
    """A configuration file with `@{…}` where this machine comes in; `$` belongs to nginx and Lua."""

    delimiter = "@"


def render(name: str, **values: object) -> str:
    """Return the file of that name from `peers/`, filled in."""
    text = files(__package__).joinpath("peers", name).read_text(encoding="utf-8")
    return PeerFile(text).substitute(values)


@contextmanager
def nginx_return(found: Found, cores: Cores, directory: Path, body: str) -> Iterator[Target]:
    """Run nginx answering every request with `body` (JSON)."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    conf = directory / "nginx.conf"
    conf.write_text(render("nginx_return.conf", directory=directory, port=port, body=body), encoding="utf-8")
    with _nginx(found.path(Tool.NGINX), conf, cores, port) as child:
        yield Target(child=child, port=port)


@contextmanager
def nginx_lua_redis(found: Found, cores: Cores, directory: Path, slots: int) -> Iterator[Target]:
    """Run nginx + Lua + Redis with an empty log and `slots` slots to give. CPU time is that of both."""
    directory.mkdir(parents=True, exist_ok=True)
    port, claim = free_port(), render("claim.lua", slots=slots)
    sha = hashlib.sha1(claim.encode(), usedforsecurity=False).hexdigest()
    (directory / "grab.lua").write_text(render("grab.lua", directory=directory, slots=slots, sha=sha), encoding="utf-8")
    conf, redis_conf = directory / "nginx.conf", directory / "redis.conf"
    conf.write_text(render("nginx_redis.conf", directory=directory, port=port, modules=NGINX_MODULES), encoding="utf-8")
    redis_conf.write_text(render("redis.conf", directory=directory), encoding="utf-8")
    redis = Child([found.path(Tool.REDIS), str(redis_conf)], cores.load, log=directory / "redis.log")
    with redis:
        redis.wait_for_socket(str(directory / "redis.sock"))
        known = _redis(directory, "SCRIPT", "LOAD", claim)
        if known != sha:
            raise ProcessFailed(f"Redis did not take the claim script: {known}")
        with _nginx(found.path(Tool.NGINX_LUA), conf, cores, port) as child:
            yield Target(child=child, port=port, others=(redis,))


def redis_granted(directory: Path) -> int:
    """Return how many grants the Redis peer in that directory has logged."""
    return int(_redis(directory, "LLEN", "log"))


@contextmanager
def _nginx(path: str, conf: Path, cores: Cores, port: int) -> Iterator[Child]:
    directory = conf.parent
    child = Child([path, "-p", str(directory), "-c", str(conf)], cores.server, log=directory / "nginx.log")
    with child:
        child.wait_for_socket(("127.0.0.1", port))
        yield child


def _redis(directory: Path, *command: str) -> str:
    argv = ["redis-cli", "-s", str(directory / "redis.sock"), *command]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    if result.returncode != 0:
        raise ProcessFailed(f"redis-cli failed: {result.stderr.strip()}")
    return result.stdout.strip()
