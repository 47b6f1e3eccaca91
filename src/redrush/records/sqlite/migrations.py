"""The schema of `records.db`, made step by step: `migrations/0002_….sql`, …, each named by the version it leads to.

A fresh file goes through the same steps as an old one, so there is no second description that could differ. All that is
missing is one transaction: a file is of the old version, or of the new one. It needs as much room again while it lasts.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw

from redrush.core.nobody import ignore
from redrush.errors import ConfigError
from redrush.sqlfiles import load_numbered

Tell = Callable[[str], object]

_STEP: Final = re.compile(r"^-- step: (.+)$", re.MULTILINE)


def migrate(writer: apsw.Connection, path: Path, tell: Tell, *, version_max: int | None = None) -> None:
    """Bring an empty file, or one of an older version, to the newest one, or to `version_max`, in the transaction
    under way. `tell` hears of each step where there is something to move.

    Raises ConfigError for a version that no step leads on from.
    """
    scripts = load_numbered(__package__)
    version = writer.pragma("user_version")
    if version != 0 and version not in scripts:
        raise ConfigError(
            f"{path} has records of version {version}, this redrush reads {max(scripts)}: "
            "move it away, it is made anew from the journal"
        )
    for target, script in scripts.items():
        if version < target <= (version_max or target):
            _make(writer, script, tell if version else ignore, f"{path}: records of version {version} become {target}")
            writer.pragma("user_version", target)


def _make(writer: apsw.Connection, script: str, tell: Tell, what: str) -> None:
    before, *steps = _STEP.split(script)
    writer.execute(before)
    for number, (name, statements) in enumerate(zip(steps[::2], steps[1::2], strict=True), start=1):
        tell(f"{what}, step {number} of {len(steps) // 2}: {name}")
        writer.execute(statements)
