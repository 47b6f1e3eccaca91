"""A child process to be killed: records the journal of a data directory in small slices, until all is recorded."""

import asyncio
import json
import sys
from array import array
from pathlib import Path

import msgspec

from redrush.core.rush.campaign import Campaign
from redrush.records.sqlite import SqliteRecords
from redrush.settle import recorder as recorder_module
from redrush.settle.recorder import Recorder
from redrush.stores.sqlite import SqliteStore


async def record(data_dir: Path) -> None:
    """Say `recording` on stdout once the recorder is at work."""
    campaign = msgspec.convert(json.loads((data_dir / "campaign.json").read_bytes())["campaign"], Campaign)
    amounts = array("q", (data_dir / "amounts.i64").read_bytes())
    store = await SqliteStore.open_path(data_dir / "journal.db")
    recorder = Recorder(store, SqliteRecords.open_path(data_dir / "records.db"), campaign, amounts)
    recording = asyncio.create_task(recorder.run())
    sys.stdout.write("recording\n")
    sys.stdout.flush()
    await recorder.caught_up()
    await recorder.stop()
    await recording


recorder_module.SLICE_RECORDS_MAX = 40  # type: ignore[misc]  # many commits, so that kills fall between and inside them
asyncio.run(record(Path(sys.argv[1])))
