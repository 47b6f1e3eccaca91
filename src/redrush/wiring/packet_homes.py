"""The sets that packets between people are at home in, on a stack."""

from collections.abc import Mapping

from redrush.gate.group.parts import NO_SLOTS, NotedHome
from redrush.stores.valkey import ValkeyStore
from redrush.wiring.role import Surroundings


def homes_of_packets(around: Surroundings, stores: Mapping[str, ValkeyStore]) -> list[NotedHome]:
    """Return them: those that the deployment had from the first round on. A packet's home follows from its id and from
    how many there are, so a set that joins later is none, and every process comes to the same."""
    first = [spec.id for spec in around.deployment.sets if spec.from_round is None]
    return [NotedHome(set_id, stores[set_id], NO_SLOTS) for set_id in first]
