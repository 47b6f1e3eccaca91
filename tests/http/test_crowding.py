"""Who makes room: the address that has most, and of its connections the longest idle."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

from redrush.http.crowding import Crowded, idlest_of_the_greediest
from redrush.http.site import Idler


def _ended(idle: Sequence[tuple[str, bytes | None, int]], crowds: Mapping[bytes | None, int], count: int) -> list[str]:
    named = [Crowded(cast(Idler, name), crowd, since_s) for name, crowd, since_s in idle]
    return [str(one) for one in idlest_of_the_greediest(named, crowds, count)]


def test_the_address_with_most_connections_gives_until_another_has_as_many() -> None:
    idle = [("a1", b"a", 5), ("a2", b"a", 1), ("a3", b"a", 3), ("b1", b"b", 0), ("c1", b"c", 0)]
    crowds: dict[bytes | None, int] = {b"a": 4, b"b": 2, b"c": 1}
    assert _ended(idle, crowds, 2) == ["a2", "a3"], "the longest idle first"
    assert _ended(idle, crowds, 3) == ["a2", "a3", "b1"], "then both have two, and b is idle for longer"
    assert _ended(idle, crowds, 99) == ["a2", "a3", "b1", "a1", "c1"]


def test_behind_a_proxy_of_ours_nobody_is_greedy() -> None:
    idle = [("p1", None, 9), ("p2", None, 2), ("a1", b"a", 8), ("a2", b"a", 9)]
    crowds = Counter({None: 500, b"a": 2})
    assert _ended(idle, crowds, 3) == ["a1", "p2", "p1"], "two of one address before those that are nobody's alone"


def test_where_nobody_is_idle_nobody_goes() -> None:
    assert _ended([], {b"a": 50}, 10) == []
