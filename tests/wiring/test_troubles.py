"""What goes wrong beside the claims is counted and told by the embedded form too, and keeps nobody out."""

import asyncio
from contextlib import closing
from pathlib import Path

import apsw

from tests.patience import PATIENCE_S
from tests.wiring.test_campaigns import running


async def test_records_that_cannot_be_written_are_told_while_claims_go_on(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        assert (await server.ask("GET", "/readyz", port="control")).json == {"status": "ready"}
        with closing(apsw.Connection(str(tmp_path / "records.db"))) as outside:
            outside.execute("DROP TABLE grants")
            assert (await server.grab("/v1/rounds/r1", server.ticket(None, "ann"))).outcome == "granted"
            async with asyncio.timeout(PATIENCE_S):
                while "troubled" not in (ready := await server.ask("GET", "/readyz", port="control")).json:
                    await asyncio.sleep(0.05)
            assert (ready.status, ready.json["troubled"].startswith("recording: ")) == (200, True)
            metrics = (await server.ask("GET", "/metrics", port="control")).body.decode()
            assert 'redrush_faults_total{part="recording"}' in metrics
            assert (await server.grab("/v1/rounds/r1", server.ticket(None, "bob"))).outcome == "granted"
