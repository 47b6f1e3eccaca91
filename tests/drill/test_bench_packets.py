"""The measurement of packets between people, with few of them."""

from pathlib import Path

import pytest

from redrush.drill.bench import packets
from redrush.drill.bench.run import MEASUREMENTS


def test_packets_are_created_held_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "CALM_S", 0.05)
    assert packets.run(packets.created_per_s(tmp_path / "created", 40)) > 0
    packets.run(packets.bytes_per_open(tmp_path / "open", 200))
    calm, busy = packets.run(packets.delay_ms(tmp_path / "expiry", 300))
    assert min(calm, busy) > 0
    assert packets.PACKETS in MEASUREMENTS
