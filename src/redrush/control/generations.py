"""Who went on with less than was known, and why: `generations.jsonl`, a JSON object a line."""

import time
from typing import Any

import msgspec

from redrush.control.data_dir import DataDir
from redrush.control.durable_file import write_durably
from redrush.core.rush.instants import rfc3339


def note_generation(data_dir: DataDir, fields: dict[str, Any]) -> None:
    """Write a line down, with the time. Raises OSError."""
    before = data_dir.generations.read_bytes() if data_dir.generations.exists() else b""
    at = rfc3339(time.time_ns() // 1_000)
    write_durably(data_dir.generations, before + msgspec.json.encode({"at": at, **fields}) + b"\n")
