"""The scaled store: one set of pots in a Valkey or Redis server, shared by any number of gates.

The rules are in the server (`library.lua`): one function call per batch decides, writes and logs. This adapter adds
what the server cannot: durability that is waited for, terms, and finding the primary.

Durable means: fsynced by the primary before it replies (`appendfsync always` is one fsync for all that a turn of its
event loop did), and held by as many replicas as the terms say (`WAIT` right behind the call, in the same write). With
fewer the call raises StoreUnavailable, and whoever asks again finds what it did. Also what is only read may rest on
another gate's write that no replica has yet: reads, and repeats, touch a counter too, so that WAIT covers them.

In batches of 256 a claim costs the server about 2 µs; one of those on many small pots some three times as much, for
each of these is read and written by itself. A grant costs 72 bytes of its memory with an id of 14 bytes, 55
when the log is trimmed; a registered user without one costs nothing (`tests/integration/test_valkey_memory.py`).

Of other processes' grants this one knows nothing in `known`; a repeat that is not in it costs a call.

Long, because it fulfils every call of the port, each of which is some lines about one function of the library.
"""

import asyncio
from collections.abc import AsyncIterator, Container, Mapping, Sequence
from operator import attrgetter
from typing import Final, Self

import msgspec

from redrush.core.rush.campaign import Slots
from redrush.core.sets.address import Address
from redrush.ports.chained_log import LogPage
from redrush.ports.clock import TimeHeard
from redrush.ports.log_rows import fingerprint, terms_text, users_text
from redrush.ports.news import News, NewTerms
from redrush.ports.noted_pots import GRANTED_MAX, NotedPot, Watched
from redrush.ports.pot_terms import check_terms, note_of, said_of
from redrush.ports.store import (
    EARLY,
    EMPTY,
    LATE,
    Claim,
    Claimed,
    ClaimResult,
    Grant,
    History,
    HoldState,
    Known,
    LogRecord,
    PotState,
    PotTerms,
    Refusal,
    StoreConflict,
    StoreFailed,
    StoreUnavailable,
    Transfers,
)
from redrush.stores.pots import users_of_one_pot
from redrush.stores.valkey.calls import Build, Calls
from redrush.stores.valkey.entries import (
    GRANT_INTEGER_BYTES,
    INTEGER_MAX,
    SMALL_STATE,
    STATE_FIELDS,
    field_of,
    is_plain,
    known_grant_of,
    noted_of,
    runs_of,
    runs_text,
    state_of,
    transfers_of,
)
from redrush.stores.valkey.keys import Library, SetKeys
from redrush.stores.valkey.link import Access, Command, Reply, ReplyFault, pack
from redrush.stores.valkey.news import encode, listen
from redrush.stores.valkey.primary import Primary, Prover
from redrush.stores.valkey.reading import LogReading
from redrush.stores.valkey.results import remember, results_of, results_of_each
from redrush.stores.valkey.terms import UNSURE, WRITTEN_OFF, Terms, fence, lost_grants

ATTACH_S: Final = 10.0
"""How long `connect` looks for the primary: a failover under way takes less."""

CLAIMS_MAX: Final = 16_384
"""Claims in one call: about 40 ms of the server's time, in which it does nothing else."""

OPENED_MAX: Final = 256
"""Pots opened in one call, some milliseconds of the server's time."""

SETTLED_S: Final = 5.0
"""How long after it was found anew a set may lack what was to be opened in it meanwhile: whoever opens it finds the set
within PAUSE_LONG_S and tries again twice a second, and reopens what a set that was made anew has lost."""

CLAIMED_ONE_BY_ONE: Final = 4
"""How long the library's answer is then; see `claim_each` there."""

_pot_of = attrgetter("pot")

_STATES: Final = {"c": HoldState.CONFIRMED, "r": HoldState.RELEASED, "u": HoldState.UNKNOWN}


class ValkeyStore:
    """The `redrush.ports.store.Store` on Valkey, and the set's `redrush.ports.news.NewsLine`. See the module.

    Open it with `connect`; use it from one event loop. Every call may raise StoreUnavailable.
    """

    knows_all = False

    def __init__(self, primary: Primary, keys: SetKeys, library: Library, access: Access) -> None:
        self._primary = primary
        self._keys = keys
        self._library = library
        self._access = access
        self._calls = Calls(primary, keys, library)
        self._grants: dict[str, dict[str, Claimed]] = {}
        """What this process remembers of pots, by their ids."""
        self._seq = 0
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._times: dict[str, tuple[int, int]] = {}
        self.slack_us = 0
        """How far the server's clock may be from the instants of `hold_to`; operators may accept that it is wrong."""
        self._reading = LogReading(primary, self._calls, keys, access)
        primary.forget = self._forget

    @classmethod
    async def connect(
        cls,
        addresses: Sequence[Address],
        campaign_id: str,
        set_id: str,
        *,
        access: Access | None = None,
        within_s: float = ATTACH_S,
        prover: Prover | None = None,
    ) -> Self:
        """Find the set's primary among the addresses (all of the set's servers, or seeds of a cluster) and attach.

        Raises StoreUnavailable if there is none within this time, also if no set was founded there (`establish_set`),
        ServerMisconfigured if a server would lose what it acknowledged or is too old.
        """
        keys, library, access = SetKeys(campaign_id, set_id), Library.read(), access or Access()
        primary = Primary(addresses, keys, access, library, prover)
        await primary.start(within_s)
        return cls(primary, keys, library, access)

    @classmethod
    def attach_later(
        cls,
        addresses: Sequence[Address],
        campaign_id: str,
        set_id: str,
        *,
        access: Access | None = None,
        prover: Prover | None = None,
    ) -> Self:
        """Return the store at once, and attach in the background: for whoever can go on without the set meanwhile.

        Until then every call raises StoreUnavailable with the reason, also that a server is misconfigured.
        """
        keys, library, access = SetKeys(campaign_id, set_id), Library.read(), access or Access()
        primary = Primary(addresses, keys, access, library, prover)
        primary.start_later()
        return cls(primary, keys, library, access)

    async def attached(self, within_s: float) -> bool:
        """Return whether a primary is attached, as soon as one is, or after this time."""
        await self._primary.other_than(None, asyncio.get_running_loop().time() + within_s)
        return self._primary.is_attached

    @property
    def is_attached(self) -> bool:
        """Whether a primary is attached now."""
        return self._primary.is_attached

    @property
    def terms(self) -> Terms:
        """The terms of the attached primary. Raises StoreUnavailable if there is none."""
        return self._primary.attached().terms

    @property
    def address(self) -> Address:
        """Where the attached primary listens. Raises StoreUnavailable if there is none."""
        return self._primary.attached().link.address

    async def open(self, pots: Sequence[PotTerms]) -> None:
        for terms in pots:
            check_terms(terms, INTEGER_MAX)
        for start in range(0, len(pots), OPENED_MAX):
            await self._open(pots[start : start + OPENED_MAX])

    async def _open(self, pots: Sequence[PotTerms]) -> None:
        wanted: list[str | bytes | int] = []
        for terms in pots:
            slots, hold_us = terms.slots, "" if terms.hold_us is None else terms.hold_us
            said, note = terms_text(terms.limit_per_user, terms.hold_us), note_of(terms)
            if not note:  # else it is for whoever asks for it: a million of them are nothing to be remembered
                self._remember(terms.pot)
            wanted += (terms.pot, slots.first, slots.count, terms.limit_per_user, hold_us, said or "", note)
        (reply,) = await self._change(
            self._library.open,
            (self._keys.meta, self._keys.log, *(self._keys.pot(terms.pot) for terms in pots)),
            *wanted,
        )
        if isinstance(reply, ReplyFault):
            number, _, opened = reply.detail.partition(" ")
            terms = pots[int(number)]
            raise StoreConflict(f"pot {terms.pot!r} was opened with {_opened(terms.pot, opened)}, not {said_of(terms)}")
        self._saw_seq(reply)

    async def until_free(self) -> None:
        await self._calls.until_free()

    async def claim(self, claims: Sequence[Claim], at_us: int) -> list[ClaimResult]:
        if not 0 <= at_us <= INTEGER_MAX:
            raise ValueError(f"at_us must be 0 to {INTEGER_MAX}, not {at_us}")
        if len(claims) > CLAIMS_MAX:
            raise ValueError(f"at most {CLAIMS_MAX} claims in one call, not {len(claims)}")
        users = users_of_one_pot(claims)
        if users is None:
            return await self._claim_from_any(claims, at_us)
        pot, text = claims[0].pot, users_text(users)
        (reply,) = await self._change(
            self._library.claim,
            (self._keys.meta, self._keys.log, self._keys.pot(pot)),
            at_us,
            at_us.to_bytes(GRANT_INTEGER_BYTES),
            text,
            fingerprint(text),
            *self._within(pot),
            in_turn=True,
        )
        if isinstance(reply, ReplyFault):
            raise _never_opened(pot)
        if len(reply) == CLAIMED_ONE_BY_ONE:  # the pot has limits or holds
            return self._results_of_each(claims, at_us, reply)
        seq, log_end, runs, repeats, shut_us = reply
        self._saw(seq, log_end)
        nothing = EMPTY if shut_us is None else self._shut(pot, shut_us)
        return results_of(users, at_us, runs, repeats, self._grants_of(pot), nothing)

    async def _claim_from_any(self, claims: Sequence[Claim], at_us: int) -> list[ClaimResult]:
        pots, named = [claim.pot for claim in claims], [claim.request for claim in claims]
        bounds = {pot: self._within(pot) for pot in self._times.keys() & pots}
        (reply,) = await self._change(
            self._library.claim_any,
            (self._keys.meta, self._keys.log),
            at_us,
            at_us.to_bytes(GRANT_INTEGER_BYTES),
            users_text([claim.user for claim in claims]),
            users_text(pots),
            users_text(named) if any(named) else "",
            msgspec.json.encode(bounds) if bounds else "",
            in_turn=True,
        )
        if isinstance(reply, ReplyFault):
            raise _never_opened(pots[int(reply.detail)])
        return self._results_of_each(claims, at_us, reply)

    def _results_of_each(self, claims: Sequence[Claim], at_us: int, reply: Reply) -> list[ClaimResult]:
        seq, log_end, shut_us, (told, *values) = reply
        self._saw(seq, log_end)
        results: list[ClaimResult] = []
        for claim, result in zip(claims, results_of_each(told, values, at_us), strict=True):
            if result is None:
                results.append(self._shut(claim.pot, shut_us))
                continue
            results.append(result)
            if type(result) is Claimed and not claim.request and (grants := self._grants.get(claim.pot)) is not None:
                remember(grants, claim.user, result)
        return results

    def _shut(self, pot: str, shut_us: int) -> Refusal:
        return EARLY if shut_us < self._times[pot][0] - self.slack_us else LATE

    async def confirm(self, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        return await self._finish("confirmed", holds, at_us)

    async def release(self, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        return await self._finish("released", holds, at_us)

    async def _finish(self, kind: str, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        if len(holds) > CLAIMS_MAX:
            raise ValueError(f"at most {CLAIMS_MAX} holds in one call, not {len(holds)}")
        places = {pot: place for place, pot in enumerate(dict.fromkeys(map(_pot_of, holds)))}
        columns: list[list[str | int]] = [[places[hold.pot] for hold in holds]]
        columns += [[getattr(hold, name) for hold in holds] for name in ("user", "slot", "request", "number")]
        (reply,) = await self._change(
            self._library.finish,
            (self._keys.meta, self._keys.log, *map(self._keys.pot, places)),
            kind,
            at_us,
            msgspec.json.encode(columns),
        )
        if isinstance(reply, ReplyFault):
            raise _never_opened(list(places)[int(reply.detail)])
        seq, log_end, states = reply
        self._saw(seq, log_end)
        return [_STATES[letter] for letter in states.decode()]

    async def offer(self, pots: Sequence[str]) -> int:
        names = list(dict.fromkeys(pots))
        offered = 0
        for start in range(0, len(names), OPENED_MAX):
            some = names[start : start + OPENED_MAX]
            keys = (self._keys.meta, self._keys.log, *map(self._keys.pot, some))
            (reply,) = await self._change(self._library.offer, keys)
            if isinstance(reply, ReplyFault):
                raise _never_opened(some[int(reply.detail)])
            self._saw(reply[0], reply[1])
            offered += reply[2]
        return offered

    def hold_to(self, times: Mapping[str, tuple[int, int]]) -> None:
        """Let these pots give slots only from the first instant until the second (µs since the epoch), by the clock of
        the set's server as well: claims beyond are EARLY or LATE there, and grants are still found."""
        self._times.update(times)

    def _within(self, pot: str) -> tuple[int, ...]:
        times = self._times.get(pot)
        return () if times is None else (times[0] - self.slack_us, times[1] + self.slack_us)

    def time_heard(self) -> TimeHeard | None:
        """Return what the primary's clock said last: about once a second. None if it was not heard for long."""
        return self._primary.time_heard()

    async def take(self, pot: str, count: int, transfer: str) -> tuple[Slots, ...]:
        if count < 0:
            raise ValueError(f"cannot take {count} slots")
        name = transfer.encode()
        (reply,) = await self._change(
            self._library.take,
            (self._keys.meta, self._keys.log, self._keys.pot(pot), self._keys.taken),
            pot,
            count,
            name,
        )
        if isinstance(reply, ReplyFault):
            if reply.code == "NOPOT":
                raise _never_opened(pot)
            raise StoreConflict(f"transfer {transfer!r} took from pot {reply.detail!r}, it cannot take from {pot!r}")
        self._saw_seq(reply[0])
        return runs_of(reply[1])

    async def give(self, pot: str, slots: tuple[Slots, ...], transfer: str) -> None:
        _check_slots(slots)
        name, runs = transfer.encode(), runs_text(slots)
        (reply,) = await self._change(
            self._library.give,
            (self._keys.meta, self._keys.log, self._keys.pot(pot), self._keys.given),
            pot,
            runs,
            name,
        )
        if not isinstance(reply, ReplyFault):
            self._saw_seq(reply)
            return
        if reply.code == "NOPOT":
            raise _never_opened(pot)
        if reply.code == "ALREADY":
            met = _run(reply.detail)
            raise StoreConflict(f"pot {pot!r} already has slots of {met}, transfer {transfer!r} cannot give them")
        raise StoreConflict(f"transfer {transfer!r} gave {reply.detail}, it cannot give {slots} to pot {pot!r}")

    async def transfers(self) -> Transfers:
        keys = self._keys

        def build(terms: Terms) -> Sequence[Command]:
            listing = ("FCALL", self._library.moved, 2, keys.meta, keys.taken, terms.epoch)
            return listing, ("HGETALL", keys.moved), ("HGETALL", keys.given), self._calls.touch(terms)

        is_listed, moved, given, _ = await self._call(build)
        if not is_listed:
            moved, given, _ = await self._read(("HGETALL", keys.taken), ("HGETALL", keys.given))
        return transfers_of(moved, given)

    async def find(self, pot: str, user: str, request: str = "") -> Claimed | None:
        field = field_of(user, request)
        in_big, in_small, _ = await self._read(
            ("HGET", self._keys.grants(pot), field), ("HGET", self._keys.pot(pot), field)
        )
        value = in_big or in_small
        return None if value is None else known_grant_of(value)

    def known(self, pot: str) -> Mapping[str, Claimed]:
        """Return the grants that this process saw, up to KNOWN_MAX, live. KeyError for a pot it never used."""
        try:
            return self._grants[pot]
        except KeyError:
            raise KeyError(f"pot {pot!r} was neither opened nor claimed from by this process") from None

    def holders(self, pot: str) -> Container[str]:
        """Return those that this process saw, as in `known`. Winners of named requests are in the log alone."""
        return self.known(pot)

    async def state(self, pot: str) -> PotState:
        fields, (seq, _) = await self._read(("HMGET", self._keys.pot(pot), *STATE_FIELDS))
        state = state_of(fields)
        if state is None:
            raise _never_opened(pot)
        self._saw_seq(seq)
        return state

    async def noted(self, pots: Sequence[str]) -> list[NotedPot | None]:
        noted: list[NotedPot | None] = []
        for start in range(0, len(pots), OPENED_MAX):
            asked = users_text(pots[start : start + OPENED_MAX])
            ((seq, states, notes),) = await self._change(self._library.noted, (self._keys.meta,), asked)
            self._saw_seq(seq)
            noted += noted_of(states, notes)
        return noted

    async def lacks_nothing(self) -> bool:
        if self._primary.attached_for_s() < SETTLED_S:
            return False
        _, _, lost, honoured, is_unsure, written_off = await self.log_end()
        return not is_unsure and lost <= honoured + written_off

    async def granted(self, pot: str) -> Mapping[str, Claimed]:
        if (state := await self.state(pot)).claimed_ever > GRANTED_MAX:
            raise ValueError(f"pot {pot!r} has {state.claimed_ever:,} grants; only its log says whose they are")
        in_small, in_big, _ = await self._read(("HGETALL", self._keys.pot(pot)), ("HGETALL", self._keys.grants(pot)))
        held = in_small if SMALL_STATE in in_small else in_big
        granted = {name.decode(): known_grant_of(value) for name, value in held.items() if is_plain(name)}
        self._grants_of(pot).update(granted)
        return granted

    def watch(self, pot: str) -> Watched:
        return Watched(pot, self._remember(pot))

    def forget(self, pot: str) -> None:
        self._grants.pop(pot, None)

    async def log(self, after: int, limit: int) -> list[LogRecord]:
        return (await self.log_page(after, limit)).records

    async def log_page(self, after: int, limit: int) -> LogPage:
        """Return what `log` returns, with the fingerprints around it."""
        self._enter()
        try:
            history = self._primary.history
            page = await self._reading.page(max(after, 0), max(limit, 0))
            if history == self._primary.history:  # over its own link a page may come from a set that was given up
                self._saw_seq(page.last_seq)
            return page
        finally:
            self._leave()

    async def log_end(self) -> tuple[int, str, int, int, bool, int]:
        """Return seq and fingerprint of the last log record, how many grants operators have let the set go on without,
        how many of those were entered again, whether there may be more that nobody knows of, and how many were written
        off."""
        asked = ("HMGET", self._keys.meta, "losses", "honoured", UNSURE, WRITTEN_OFF)
        (losses, honoured, unsure, written_off), (seq, chain) = await self._read(asked)
        counts = lost_grants(losses), int(honoured or 0)
        return seq, chain.decode(), *counts, unsure is not None, int(written_off or 0)

    async def doubt(self) -> None:
        """Let nobody use the set until its log was compared anew: for whoever knows of records that it lacks."""
        link = self._primary.attached().link
        (reply,) = await link.call(pack(("FCALL", self._library.doubt, 1, self._keys.meta)))
        if isinstance(reply, ReplyFault):
            raise StoreUnavailable(f"{link.address}: {reply}")

    def last_seq(self) -> int:
        """Return the seq of the last record that this process heard of: by its calls, or by reading the log."""
        return self._seq

    def acknowledged(self) -> Known | None:
        """Return how far this process knows the log, by what it was told durable; None: it was told nothing yet."""
        return self._primary.known

    def history(self) -> History:
        history = self._primary.history
        if history is None:
            raise StoreUnavailable(f"set {self._keys.name}: not reached yet")
        return history

    async def trim(self, upto_seq: int) -> int:
        """Drop log records with seq <= `upto_seq`, which the records must hold durably; return how many there were."""
        (dropped,) = await self._change(self._library.trim, (self._keys.meta, self._keys.log), max(upto_seq, 0))
        assert isinstance(dropped, int)
        return dropped

    async def fence(self, terms: Terms) -> None:
        """Put the attached primary under new terms and tell the gates.

        Raises StoreConflict if its epoch is not lower; StoreUnavailable if it is unknown whether it is done.
        """
        self._enter()
        try:
            await fence(self._primary.attached().link, self._keys, terms)
            await self._publish(NewTerms(terms.epoch))
        finally:
            self._leave()

    async def publish(self, news: News) -> None:
        self._enter()
        try:
            await self._publish(news)
        finally:
            self._leave()

    def news(self) -> AsyncIterator[News]:
        return listen(self._primary, self._keys, self._access)

    async def close(self) -> None:
        """Finish the calls under way, then end the links. May be called again."""
        self._closed = True
        await self._idle.wait()
        await self._reading.close()
        await self._primary.close()

    async def _change(
        self, function: bytes, keys: tuple[bytes, ...], *arguments: str | bytes | int, in_turn: bool = False
    ) -> list[Reply]:
        """Call a function of the library, with the terms as its first arguments."""
        head: Command = ("FCALL", function, len(keys), *keys)

        def build(terms: Terms) -> Sequence[Command]:
            return ((*head, terms.epoch, terms.replicas_needed, *arguments),)

        return await self._call(build, in_turn=in_turn)

    async def _read(self, *commands: Command) -> list[Reply]:
        """Return the replies to the commands, durable, and at last the set's seq."""

        def build(terms: Terms) -> Sequence[Command]:
            return (*commands, self._calls.touch(terms))

        return await self._call(build)

    async def _call(self, build: Build, *, in_turn: bool = False) -> list[Reply]:
        self._enter()
        try:
            return await self._calls.make(build, in_turn=in_turn)
        finally:
            self._leave()

    def _enter(self) -> None:
        if self._closed:
            raise StoreFailed(f"set {self._keys.name}: the store was closed")
        self._under_way += 1
        self._idle.clear()

    def _leave(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()

    async def _publish(self, news: News) -> None:
        link = self._primary.attached().link
        (reply,) = await link.call(pack(("PUBLISH", self._keys.news, encode(news))))
        if isinstance(reply, ReplyFault):
            raise StoreUnavailable(f"{link.address}: {reply}")

    def _remember(self, pot: str) -> dict[str, Claimed]:
        return self._grants.setdefault(pot, {})

    def _grants_of(self, pot: str) -> dict[str, Claimed]:
        """Return where grants of the pot are remembered; of one that nobody wants to know of, nowhere."""
        return self._grants.get(pot, {})

    def _forget(self) -> None:
        """What was remembered may not be so in the set's new history. Mappings that `known` returned stay in use."""
        self._seq = 0
        self._primary.acknowledged = None
        for grants in self._grants.values():
            grants.clear()

    def _saw_seq(self, seq: int) -> None:
        self._seq = max(self._seq, seq)

    def _saw(self, seq: int, log_end: bytes) -> None:
        """What was just acknowledged is what this process knows of the set, whatever becomes of its servers."""
        self._seq = max(self._seq, seq)
        acknowledged, history = self._primary.acknowledged, self._primary.history
        if (acknowledged is None or seq > acknowledged[0]) and history is not None:
            self._primary.acknowledged = (seq, log_end, history.generation)


def _check_slots(slots: tuple[Slots, ...]) -> None:
    for run in slots:
        if run.first < 0 or run.count < 0 or run.end > INTEGER_MAX:
            raise ValueError(f"{run} is not a run of slots up to {INTEGER_MAX}")


def _run(detail: str) -> Slots:
    first, count = detail.split()
    return Slots(int(first), int(count))


def _opened(pot: str, detail: str) -> str:
    first, count, limit, hold_us = detail.split(" ")
    return said_of(PotTerms(pot, Slots(int(first), int(count)), int(limit), int(hold_us) if hold_us else None))


def _never_opened(pot: str) -> KeyError:
    return KeyError(f"pot {pot!r} was never opened")
