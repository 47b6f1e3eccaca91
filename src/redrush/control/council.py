"""The wardens of all campaigns over the same servers: what a server is, they decide together, one at a time.

Each warden decides for its campaign's part of the set. What concerns that part alone it does by itself. A server
becomes a replica, or is one no more, for all campaigns in one: so nobody is promoted, or made to follow another one,
unless every part agrees (`redrush.core.sets.consent`), and a promotion is one for all. Who is on the `roll` and is not
here is waited for: at a start the others are there some moments later.

Rejected: one warden for all parts. Each part needs its own terms, notes and comparing all the same; what was wrong is
only that they did not ask each other.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from redrush.control.comparing import Lacking
from redrush.control.set_hands import Detached, Hands
from redrush.core.sets.consent import Joint, Stake, chosen, forced, gathering, joint, objection, wanted
from redrush.core.sets.failover import Fence, Follow, Promote, Prove, Step, Wait, in_words
from redrush.errors import RedrushError
from redrush.ports.set_servers import ForkedOff

Roll = Callable[[], Collection[str]]
"""Tells which parts there are on the servers. Raises RedrushError if that is not known now."""


def nobody_else() -> Collection[str]:
    """There is one campaign."""
    return ()


class Member(Protocol):
    """The warden of one part."""

    hands: Hands

    @property
    def id(self) -> str:
        """The part."""

    def stake(self) -> Stake:
        """Return what the part has on the servers."""

    async def lower_own(self) -> None:
        """Lower the part's own terms to what is there, if it has a primary."""

    async def ask_again(self, wait_s: float | None = ...) -> None:
        """Ask the servers that answer anew, and wait for so long; None: until each has answered or failed to."""


class Council:
    """See the module. `deciding` is held by whoever changes anything about the servers."""

    def __init__(self, roll: Roll = nobody_else) -> None:
        self.deciding = asyncio.Lock()
        self.roll = roll
        self._members: dict[str, Member] = {}

    def join(self, member: Member) -> None:
        """From now on nothing is decided without it."""
        self._members[member.id] = member

    def leave(self, member: Member) -> None:
        """It has nothing there any more, or another one of its part comes."""
        if self._members.get(member.id) is member:
            del self._members[member.id]

    @property
    def parts(self) -> tuple[str, ...]:
        """Which parts are here, by name."""
        return tuple(sorted(self._members))

    def members(self) -> Iterable[Member]:
        """Return the wardens of all parts."""
        return tuple(self._members.values())

    async def see_anew(self) -> None:
        """Let every part see the servers as they are now, before something is decided."""
        await asyncio.gather(*(member.ask_again(None) for member in self.members()))

    async def ask_again(self) -> None:
        """Let every part see what was just changed, as far as the servers tell at once."""
        await asyncio.gather(*(member.ask_again() for member in self.members()))

    def next_step(self, mine: Member) -> Step:
        """Return what the part has to do now; Wait, with who does not agree and why, where others do not."""
        stake = mine.stake()
        step = wanted(stake)
        if isinstance(step, Wait | Fence):  # nearly always, and what others have there does not matter
            return step
        others = self._stakes_but(mine)
        if isinstance(step, Follow):
            step = gathering(stake, others) or step
        return self._allowed(step, stake, others)

    def _allowed(self, step: Step, mine: Stake, others: Sequence[Stake]) -> Step:
        if (why := self._missing(step)) is not None:
            return Wait(why)
        if isinstance(step, Promote):
            agreed = joint(step, mine, others)
            return agreed if isinstance(agreed, Wait) else step
        for other in others:
            if (why := objection(step, other)) is not None:
                return Wait(why)
        return step

    async def promote(self, mine: Member, step: Promote) -> None:
        """Promote for all: a step that was allowed. Raises Lacking if for one of them the server lacks something."""
        agreed = joint(step, mine.stake(), self._stakes_but(mine))
        if isinstance(agreed, Wait):
            raise RedrushError(str(agreed.why))
        await self._carry_out(agreed, mine)

    async def force(self, mine: Member, name: str) -> tuple[str, ...]:
        """Make this server the primary of all parts, whatever they lack there; return the sets that could not be asked
        for moves of slots. RedrushError if it cannot be."""
        decided = forced(name, mine.stake(), self._stakes_but(mine))
        if isinstance(decided, str):
            raise RedrushError(f"set {mine.id}: {decided}")
        return await self._carry_out(decided, mine, is_ordered=True)

    async def _carry_out(self, decided: Joint, mine: Member, *, is_ordered: bool = False) -> tuple[str, ...]:
        detached: dict[str, Detached] = {}
        for part, move in decided.moves.items():
            detached[part] = await self._members[part].hands.detach(move)
        ranks = {part: {name: seq for name, (_, seq) in held.items()} for part, held in detached.items()}
        name = chosen(decided.candidates, ranks)
        if name is None:
            most = "; ".join(f"{max(of, key=of.__getitem__)} has most of {part}" for part, of in ranks.items())
            raise RedrushError(f"no server has most of every campaign's part: {most}")
        forks: dict[str, ForkedOff | None] = {}
        unasked = set[str]()
        for part, move in decided.moves.items():
            hands = self._members[part].hands
            is_forced = move.is_forced
            try:
                if not is_forced:
                    await hands.see_whole(name)
            except Lacking as fault:
                if part == mine.id:
                    raise
                if not is_ordered:
                    raise Lacking(f"for set {part} of another campaign {fault}") from fault
                is_forced = True
            forks[part] = None
            if is_forced:
                forks[part], left_out = await hands.go_without(name, detached[part])
                unasked.update(left_out)
        for part, move in decided.moves.items():
            await self._members[part].hands.take_over(name, move.epoch, forks[part])
        return tuple(sorted(unasked))

    def _stakes_but(self, mine: Member) -> list[Stake]:
        return [member.stake() for member in self.members() if member is not mine]

    def _missing(self, step: Step) -> str | None:
        """Return who is not here, if the step might take something from them."""
        if isinstance(step, Prove):  # a part that comes later finds its own log as it was
            return None
        try:
            missing = sorted(set(self.roll()) - self._members.keys())
        except RedrushError as fault:
            return f"which campaigns have a part of it is not known: {fault}"
        if not missing:
            return None
        return (
            f"{in_words(step)} when it is known what {' and '.join(missing)} need, of campaigns that are being taken "
            "up here; the log says what hinders one that is not"
        )
