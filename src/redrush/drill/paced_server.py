"""`python -m redrush.drill.paced_server`: `redrush serve` over a store that decides a set number of claims a second.

A gate with a whole core decides more claims a second than one other core can offer ten times over, so on one small
machine the overload of the drill has to be made small, and with it everything else stays as it is: the gate, its
queues, the journal, one fsync for each batch. What is slowed is the call that makes a batch durable, as a busier disk
or a store across a network would. For drills only; there is no switch in `redrush serve` that does this.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from redrush.config import load_campaign_file
from redrush.control.data_dir import DataDir
from redrush.ports.store import Claim, ClaimResult
from redrush.stores.sqlite import SqliteStore
from redrush.wiring.embedded import Ports, run_embedded

FOLLOWS_WITHIN_S: Final = 0.003
"""A batch that begins so soon after the one before was due had been waiting for it: timers, and the gate between two
batches, are late by a millisecond or two, and that costs the store no capacity. Whoever comes later finds it idle, and
waits for the whole time of their own claim."""


class PacedStore(SqliteStore):
    """A SqliteStore whose claims take 1/`claims_per_s` each, one after the other, besides the time of their fsync."""

    claims_per_s: float
    _free_s = 0.0

    @classmethod
    async def open_paced(cls, path: Path, claims_per_s: float, **options: Any) -> Self:
        """Open the journal at `path`; raises what `open_path` does."""
        store = await cls.open_path(path, **options)
        store.claims_per_s = claims_per_s
        return store

    async def claim(self, claims: Sequence[Claim], at_us: int) -> list[ClaimResult]:
        now_s = asyncio.get_running_loop().time
        begins_s = now_s()
        if begins_s - self._free_s < FOLLOWS_WITHIN_S:
            begins_s = self._free_s
        self._free_s = free_s = begins_s + len(claims) / self.claims_per_s
        results = await super().claim(claims, at_us)
        if (left_s := free_s - now_s()) > 0:
            await asyncio.sleep(left_s)
        return results


def main() -> None:
    """Serve until SIGTERM. The campaign's errors are told as `redrush serve` would, by their exception."""
    parser = argparse.ArgumentParser(prog="redrush.drill.paced_server", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--claims-per-s", type=float, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--control-port", type=int, required=True)
    chosen = parser.parse_args()

    def announce(_ports: dict[str, int]) -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    run_embedded(
        load_campaign_file(chosen.file),
        DataDir(chosen.data),
        Ports("127.0.0.1", chosen.port, chosen.control_port),
        announce,
        lambda path, **options: PacedStore.open_paced(path, chosen.claims_per_s, **options),
    )


if __name__ == "__main__":
    main()
