"""What the switches do in a gate: each snapshot is written into the places that are read while serving.

Nothing asks a switch during a rush; a claim costs the same with and without them.

A release pace is that of the event, and each gate lets its share of it go: what the control role says, which hears what
each was asked for (`redrush.core.rush.pace_shares`), and an equal one while that is not known. How many gates there are
is counted by whoever they tell their readings to.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping

from redrush.core.rush.pace_shares import Released
from redrush.core.steering.switches import (
    ADDRESS_PER_SECOND,
    ANSWER_ENDED,
    CLAIMS_WAITING_MAX,
    CONNECTIONS_MAX,
    EXCHANGES_PER_SECOND,
    LEVEL_AT_OPENING,
    LEVEL_FLOOR,
    NON_CORE_SHARE,
    NOTICES,
    USER_PER_SECOND,
    Snapshot,
    ended_of,
    pace_of,
)
from redrush.gate.admission import Admission
from redrush.gate.exchange import Exchange
from redrush.gate.manners import Gauge
from redrush.gate.rush.rush import Rush
from redrush.http import answers
from redrush.http.route import Route, Waiter
from redrush.http.site import Site


class Sampling:
    """The share of non-core requests that is served now."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self.share = 1.0
        self.draw = draw

    def apply(self, snapshot: Snapshot) -> None:
        """Let the snapshot hold from the next request on."""
        share = snapshot.number(NON_CORE_SHARE)
        self.share = 1.0 if share is None else share


class Notice:
    """What the crowd is told now, as the state file has it; None: nothing."""

    def __init__(self) -> None:
        self.told: Mapping[str, str] | None = None
        """The text by language, and the `id` of these texts: that of other gates for the same ones."""

    def apply(self, snapshot: Snapshot) -> None:
        """Let the snapshot hold from the next request on."""
        texts = {language: text for language, name in NOTICES.items() if (text := snapshot.text(name)) is not None}
        named = "\n".join(f"{language} {text}" for language, text in texts.items()).encode()
        self.told = {**texts, "id": hashlib.sha256(named).hexdigest()[:12]} if texts else None


class Sampled:
    """A route that is served in part only while the operators want it so."""

    def __init__(self, route: Route, sampling: Sampling) -> None:
        self._route = route
        self._sampling = sampling

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer as the route does, or refuse for now."""
        sampling = self._sampling
        if sampling.share < 1 and sampling.draw() >= sampling.share:
            return answers.NOT_SAMPLED
        return self._route.serve(waiter, user)


class GateSwitches:
    """Applies snapshots to the rounds of a gate. `apply` is what follows a switchboard or a switch line.

    A snapshot that says nothing of a round, as that of another campaign's switchboard, leaves it as it is."""

    def __init__(self, gauge: Gauge, sampling: Sampling, notice: Notice, admission: Admission, site: Site) -> None:
        self._rounds: dict[str, Rush] = {}
        self._paces: dict[str, float | None] = {}
        """By round, of the whole event."""
        self._exchanges: list[Exchange] = []
        self._gauge = gauge
        self._sampling = sampling
        self._notice = notice
        self._admission = admission
        self._site = site
        self._configured_parked_max = gauge.parked_max
        self.gates = 1
        """How many gates share the release pace, as far as this one knows."""
        self.shares: Mapping[str, float] = {}
        """What this gate may let go a second of which round, as it was told lately; of the others an equal share."""

    def added(self, rushes: Iterable[Rush], exchange: Exchange | None) -> None:
        """Switch these, too, from now on."""
        for rush in rushes:
            self._rounds[rush.name] = rush
            self._paces[rush.name] = rush.round.release_per_s
            rush.share_with(self.gates)
            self._set_pace(rush)
        if exchange is not None:
            self._exchanges.append(exchange)

    def removed(self, rushes: Iterable[Rush], exchange: Exchange | None) -> None:
        """Switch these no longer."""
        for rush in rushes:
            del self._rounds[rush.name], self._paces[rush.name]
        if exchange is not None:
            self._exchanges.remove(exchange)

    def apply(self, snapshot: Snapshot) -> None:
        """Let the snapshot hold from the next request on."""
        self._gauge.parked_max = _least(snapshot.number(CLAIMS_WAITING_MAX), self._configured_parked_max)
        self._site.connections_max = _least(snapshot.number(CONNECTIONS_MAX), self._site.limits.connections_max)
        self._admission.set_level_at_opening(snapshot.number(LEVEL_AT_OPENING))
        self._admission.set_floor(snapshot.number(LEVEL_FLOOR) or 0.0)
        self._sampling.apply(snapshot)
        self._notice.apply(snapshot)
        self._site.asking.override(snapshot.number(USER_PER_SECOND), snapshot.number(ADDRESS_PER_SECOND))
        # A control role of an earlier start may not know yet that tickets are exchanged.
        if EXCHANGES_PER_SECOND in snapshot.values:
            for exchange in self._exchanges:
                exchange.per_s = int(snapshot.number(EXCHANGES_PER_SECOND) or 0)
        self.apply_to_rounds(snapshot)

    def apply_to_rounds(self, snapshot: Snapshot) -> None:
        """Let only that hold, from the next request on, which the snapshot says of rounds."""
        ended = snapshot.flag(ANSWER_ENDED)
        for name, rush in self._rounds.items():
            if pace_of(name) in snapshot.values:
                pace = snapshot.number(pace_of(name))
                if pace != self._paces[name]:
                    self.shares = {other: share for other, share in self.shares.items() if other != name}
                self._paces[name] = pace
                rush.set_ended(ended or snapshot.flag(ended_of(name)))
                self._set_pace(rush)
                rush.advise()

    def share_with(self, gates: int) -> None:
        """Release an equal share of every pace: there are `gates` gates, this one included."""
        if gates != self.gates:
            self.gates = gates
            for rush in self._rounds.values():
                rush.share_with(gates)
                self._set_pace(rush)

    def share_out(self, shares: Mapping[str, float]) -> None:
        """Release so much a second, by round; of rounds that are not named, an equal share of their pace."""
        self.shares = shares
        for rush in self._rounds.values():
            self._set_pace(rush)

    def released(self) -> dict[str, Released]:
        """Return what was let go of those rounds that are released at a pace, and have been asked for lately."""
        counted = {name: rush.released() for name, rush in self._rounds.items()}
        return {name: one for name, one in counted.items() if one is not None}

    def _set_pace(self, rush: Rush) -> None:
        pace = self._paces[rush.name]
        rush.set_pace(None if pace is None else self.shares.get(rush.name, pace / self.gates))


def _least(switched: float | None, configured: int) -> int:
    """Return what holds of a limit that is configured, and may be switched lower."""
    return configured if switched is None else min(int(switched), configured)
