"""What an installation may lack: extras, and the command that installs one into the Python that runs.

`pip install .` brings what serving an event needs, and no more. Everything else is an extra of pyproject.toml; whoever
asks for a command that needs one is told the command that installs it, not that some module is missing.
"""

import importlib.metadata
import importlib.util
import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from redrush.errors import ConfigError

EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "report": ("matplotlib", "jinja2", "markupsafe"),
    "client": ("aiohttp",),
    "console": ("litestar", "uvicorn", "jinja2", "argon2", "tomlkit"),
    "codes": ("cryptography",),
    "login": ("authlib", "httpx2", "litestar", "uvicorn"),
    "payments": ("cryptography",),
    "notices": ("apprise",),
    "stripe": ("stripe",),
    "scaled": ("psycopg", "hiredis"),
    "stack": ("psycopg", "hiredis"),
    "dev": ("uvicorn",),
}
"""The modules of each extra that our code imports. The servers that `stack` brings may also be those of the system."""


class ExtraMissing(ConfigError, ImportError):
    """A command needs an extra that is not installed."""


def require(extra: str, what: str) -> None:
    """Raise ExtraMissing, with the command that installs it, if `what` cannot work without this extra."""
    for module in EXTRAS[extra]:
        if importlib.util.find_spec(module) is None:
            raise _missing(extra, what, module)


def missing_extra(fault: ModuleNotFoundError, what: str) -> ExtraMissing | None:
    """Return why `what` cannot work, in words that help; None if the module is of no extra."""
    module = (fault.name or "").partition(".")[0]
    for extra, modules in EXTRAS.items():
        if module in modules:
            return _missing(extra, what, module)
    return None


def install_command(extra: str) -> str:
    """Return the command that adds the extra to this installation, as a shell takes it."""
    wanted = f"{_source()}[{extra}]"
    if (Path(sys.prefix) / "pipx_metadata.json").exists():
        return shlex.join(["pipx", "runpip", "redrush", "install", wanted])
    if importlib.util.find_spec("pip") is None:
        # An environment that `uv` made has no pip of its own.
        return shlex.join(["uv", "pip", "install", "--python", sys.executable, wanted])
    return shlex.join([sys.executable, "-m", "pip", "install", wanted])


def _missing(extra: str, what: str, module: str) -> ExtraMissing:
    return ExtraMissing(f'{what} needs the extra "{extra}" ({module} is missing); install it: {install_command(extra)}')


def _source() -> str:
    """Return what redrush was installed from: the directory of a checkout, or its name in the package index."""
    try:
        noted = importlib.metadata.distribution("redrush").read_text("direct_url.json")
        url = urlsplit(json.loads(noted or "{}").get("url", ""))
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return "redrush"
    return unquote(url.path) if url.scheme == "file" else "redrush"
