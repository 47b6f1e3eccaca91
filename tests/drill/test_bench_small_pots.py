"""The measurement of small pots: who asks for which."""

from collections import Counter

from redrush.drill.bench.run import MEASUREMENTS
from redrush.drill.bench.small_pots import SMALL_POTS, packets_of, uses_of


def test_nobody_asks_for_more_than_a_packet_has_and_every_packet_is_asked_for() -> None:
    packets = packets_of(50)
    used = Counter(uses_of(50))
    assert used == {packet.id: packet.count for packet in packets}
    assert len(set(uses_of(50)[:50])) > 10, "they come in no order"
    assert uses_of(50) == uses_of(50)
    assert SMALL_POTS in MEASUREMENTS
