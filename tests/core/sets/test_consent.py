"""Campaigns that share servers: what one of them may do about a server, and a model in which none loses anything."""

import random

import msgspec
import pytest

from redrush.core.sets.consent import Joint, Stake, chosen, forced, gathering, joint, objection, wanted
from redrush.core.sets.failover import (
    Fence,
    Follow,
    Noted,
    Promote,
    Prove,
    Seen,
    Sight,
    Step,
    Terms,
    Wait,
    next_epoch,
    next_step,
    primary_of,
    wanted_replicas,
)
from tests.core.sets.test_failover import A7, EMPTY, LONG_US, POLICY, primary, replica, sight

UNPROVEN = msgspec.structs.replace(primary(7), is_proven=False)


def stake(seen: dict[str, Seen], noted: Noted = A7, dead: str = "", *, servers: str = "ab", **logs: int) -> Stake:
    return Stake("summer", sight(seen, noted, dead, servers=servers), logs or dict.fromkeys(seen, 9))


DEAD_A = sight({"b": replica("a", 7)}, A7, "a")
MINE = Stake("spring", DEAD_A, {"b": 9})


@pytest.mark.parametrize(
    ("other", "may"),
    [
        pytest.param(stake({"b": replica("a", 7)}, dead="a"), True, id="it is whole for both"),
        pytest.param(stake({"b": replica("a", 6)}, dead="a"), False, id="the other rests on the dead one alone"),
        pytest.param(stake({"b": replica("a", 7, 0)}, dead="a"), False, id="the other needs no replica"),
        pytest.param(stake({"b": replica("a", 7)}), False, id="for the other it is not dead yet"),
        pytest.param(stake({"a": primary(7), "b": replica("a", 7)}), False, id="for the other it lives"),
        pytest.param(stake({"b": primary(8, 0)}, Noted(8, "b"), "a"), True, id="it is the other's primary already"),
        pytest.param(stake({"b": EMPTY}, dead="a"), False, id="the other has nothing there, and may on the dead one"),
        pytest.param(
            msgspec.structs.replace(stake({"b": EMPTY}, dead="a"), bare=("a", "b")), True, id="the other has nothing"
        ),
    ],
)
def test_who_is_promoted_for_all(other: Stake, may: bool) -> None:
    step = next_step(MINE.sight)
    assert step == Promote(("b",), 8)
    agreed = joint(step, MINE, [other])
    if may:
        assert isinstance(agreed, Joint)
        assert agreed.candidates == ("b",)
        assert ("summer" in agreed.moves) == (primary_of(other.sight) is None and not other.bare)
    else:
        assert isinstance(agreed, Wait)
        assert agreed.why is not None
        assert "for spring" in agreed.why
        assert "for summer" in agreed.why


def test_the_log_that_is_longer_for_one_is_taken_for_all() -> None:
    was_cut = {"a": UNPROVEN, "b": replica("a", 7)}
    cut, alike = stake(was_cut, a=5, b=9), stake(was_cut, a=9, b=9)
    assert wanted(alike) == Prove("a")
    assert wanted(cut) == Promote(("b",), 8)
    assert objection(Prove("a"), cut) is not None, "it would be used before the longer one is"
    agreed = joint(Promote(("b",), 8), msgspec.structs.replace(cut, part="spring"), [alike])
    assert isinstance(agreed, Joint)
    assert agreed.moves["summer"].candidates == ("b",)


@pytest.mark.parametrize(
    ("other", "may"),
    [
        pytest.param(stake({"a": primary(7), "b": replica("a", 6)}), True, id="all of it is at the primary"),
        pytest.param(stake({"a": EMPTY, "b": EMPTY}), True, id="it has nothing there"),
        pytest.param(stake({"a": EMPTY, "b": replica("a", 7)}), False, id="only a copy is left"),
        pytest.param(stake({"a": primary(7), "b": primary(8, 0)}, Noted(8, "b")), False, id="its primary is another"),
        pytest.param(stake({"a": primary(7)}), False, id="it does not see the server"),
        pytest.param(
            stake({"a": UNPROVEN, "b": replica("a", 7)}, a=5, b=9), False, id="the primary may lack something"
        ),
        pytest.param(stake({"a": UNPROVEN, "b": replica("a", 7)}, a=9, b=9), True, id="the copy has no more"),
    ],
)
def test_who_is_made_to_follow(other: Stake, may: bool) -> None:
    assert (objection(Follow("b", "a"), other) is None) == may


def test_what_an_operator_forces_is_forced_for_all_that_may_lack_something() -> None:
    lowered = stake({"b": replica("a", 6)}, dead="a")
    decided = forced("b", lowered, [msgspec.structs.replace(MINE, part="spring")])
    assert isinstance(decided, Joint)
    assert {part: move.is_forced for part, move in decided.moves.items()} == {"summer": True, "spring": False}
    there = stake({"b": primary(8, 0)}, Noted(8, "b"), "a")
    decided = forced("b", MINE, [there])
    assert isinstance(decided, Joint)
    assert decided.moves.keys() == {"spring"}
    dropped = forced("b", MINE, [stake({"a": primary(7), "b": EMPTY})])
    assert isinstance(dropped, str)
    assert "would drop it" in dropped


def test_of_several_the_one_is_chosen_that_has_most_of_every_part() -> None:
    assert chosen(("a", "b"), {"x": {"a": 5, "b": 5}, "y": {"a": 3, "b": 4}}) == "b"
    assert chosen(("a", "b"), {"x": {"a": 6, "b": 5}, "y": {"a": 3, "b": 4}}) is None


# --- against a model


class Copy:
    """What a server has of a part: numbers of writes in order, and what it is under."""

    def __init__(self) -> None:
        self.history: list[int] = []
        self.terms = Terms(1, 1)
        self.mark: tuple[int, int] | None = None
        self.named: str | None = None


class Server:
    """A server of the model: it follows another one, or nobody, as a whole."""

    def __init__(self, parts: str) -> None:
        self.follows: str | None = None
        self.is_up = True
        self.hidden_from: set[str] = set()
        self.copies = {part: Copy() for part in parts}


class Model:
    """Servers that crash and part, a crowd of each campaign, and a warden of each, which dies at any point."""

    def __init__(self, rng: random.Random, count: int) -> None:
        self.rng = rng
        self.parts = "xy"
        self.servers = {name: Server(self.parts) for name in "abc"[:count]}
        first, *others = self.servers
        for name in others:
            self.servers[name].follows = first
        self.noted = dict.fromkeys(self.parts, Noted(1, first))
        self.acknowledged: dict[str, set[int]] = {part: set() for part in self.parts}
        self.writes = 0

    def catch_up(self, name: str) -> None:
        """A replica copies all that its primary has, of every part."""
        server = self.servers[name]
        source = self.servers[server.follows] if server.follows else None
        if source and server.is_up and source.is_up and not source.follows:
            for part, copy in source.copies.items():
                own = server.copies[part]
                own.history, own.terms, own.mark, own.named = list(copy.history), copy.terms, copy.mark, copy.named

    def write(self, name: str, part: str) -> None:
        """Somebody writes to what thinks it is a primary; enough followers have it, or it is not acknowledged."""
        server, copy = self.servers[name], self.servers[name].copies[part]
        if not server.is_up or server.follows or copy.named not in {None, name}:
            return
        self.writes += 1
        copy.history.append(self.writes)
        followers = [other for other, held in self.servers.items() if held.follows == name and held.is_up]
        having = self.rng.sample(followers, self.rng.randrange(len(followers) + 1))
        for other in having:
            self.catch_up(other)
        if len(having) >= copy.terms.replicas_needed:
            self.acknowledged[part].add(self.writes)

    def stake(self, part: str) -> Stake:
        seen = {}
        for name, server in self.servers.items():
            if not server.is_up or part in server.hidden_from:
                continue
            source, copy = self.servers[server.follows] if server.follows else None, server.copies[part]
            seen[name] = Seen(
                is_primary=server.follows is None and copy.named in {None, name},
                is_named=copy.named is not None,
                terms=copy.terms,
                offset=0,
                is_detached=copy.mark is not None and copy.mark[0] == copy.terms.epoch,
                follows=server.follows,
                is_linked=source is not None and source.is_up and source.follows is None,
            )
        return Stake(
            part,
            Sight(
                addresses=tuple(self.servers),
                seen=seen,
                dead=self.servers.keys() - seen.keys(),
                noted=self.noted[part],
                policy=POLICY,
                short_us=LONG_US,
                ample_us=LONG_US,
            ),
            {name: len(self.servers[name].copies[part].history) for name in seen},
        )

    def act(self, part: str) -> None:
        """Take the part's next step, or, as a warden may, only the beginning of it."""
        mine = self.stake(part)
        found = primary_of(mine.sight)
        if found is not None and (terms := mine.sight.seen[found].terms) and terms.epoch >= self.noted[part].epoch:
            self.noted[part] = Noted(terms.epoch, found)
        mine = self.stake(part)
        others = [self.stake(other) for other in self.parts if other != part]
        step = wanted(mine)
        if isinstance(step, Follow):
            step = gathering(mine, others) or step
        self.take(step, mine, others)

    def take(self, step: Step, mine: Stake, others: list[Stake]) -> None:
        if isinstance(step, Fence):
            self.fence(mine.part, step)
        elif isinstance(step, Follow) and not any(objection(step, other) for other in others):
            self.servers[step.address].follows = step.primary
        elif isinstance(step, Promote) and isinstance(agreed := joint(step, mine, others), Joint):
            self.promote(agreed)

    def promote(self, agreed: Joint) -> None:
        ranks: dict[str, dict[str, int]] = {}
        for part, move in agreed.moves.items():
            for name in move.candidates:
                if self.rng.random() < 0.1:
                    return
                self.servers[name].follows = None
                copy = self.servers[name].copies[part]
                if copy.mark is None or copy.mark[0] != copy.terms.epoch:
                    copy.mark = (copy.terms.epoch, len(copy.history))
                ranks.setdefault(part, {})[name] = copy.mark[1]
                self.write(name, part)
        best = chosen(agreed.candidates, ranks)
        for part, move in agreed.moves.items():
            if best is None or self.rng.random() < 0.1:
                return
            self.fence(part, Fence(best, Terms(move.epoch, 0)))

    def fence(self, part: str, step: Fence) -> None:
        if self.rng.random() < 0.1:
            return
        self.noted[part] = Noted(step.terms.epoch, step.address)
        if self.rng.random() < 0.1:
            return
        copy = self.servers[step.address].copies[part]
        copy.terms, copy.named = step.terms, step.address

    def lower(self, part: str) -> None:
        """An operator lowers the terms of one campaign alone."""
        sight = self.stake(part).sight
        if (found := primary_of(sight)) is not None:
            self.fence(part, Fence(found, Terms(next_epoch(sight), wanted_replicas(sight, found))))

    def stumble(self) -> None:
        server = self.servers[self.rng.choice(list(self.servers))]
        choice = self.rng.random()
        if choice < 0.4:
            server.hidden_from ^= {self.rng.choice(self.parts)}
            return
        server.is_up = not server.is_up
        if server.is_up and self.rng.random() < 0.5:
            server.follows = None  # it was started as nobody's replica

    def check(self) -> None:
        """Whoever may acknowledge has all that was acknowledged; and what was acknowledged is on some disk."""
        for part, acknowledged in self.acknowledged.items():
            found = primary_of(self.stake(part).sight)
            if found is not None:
                assert acknowledged <= set(self.servers[found].copies[part].history), f"{found} lacks writes of {part}"
            assert any(acknowledged <= set(server.copies[part].history) for server in self.servers.values()), part


@pytest.mark.parametrize("seed", range(80))
def test_in_no_course_of_events_does_one_campaign_take_anything_from_another(seed: int) -> None:
    rng = random.Random(seed)
    model = Model(rng, rng.choice((2, 2, 3)))
    for _ in range(200):
        choice = rng.random()
        part = rng.choice(model.parts)
        if choice < 0.45:
            model.write(rng.choice(list(model.servers)), part)
        elif choice < 0.5:
            model.lower(part)
        elif choice < 0.6:
            model.stumble()
        elif choice < 0.8:
            model.catch_up(rng.choice(list(model.servers)))
        else:
            model.act(part)
        model.check()
    for server in model.servers.values():
        server.is_up = True
        server.hidden_from.clear()
    for _ in range(30):
        for part in model.parts:
            model.act(part)
        for name in model.servers:
            model.catch_up(name)
        model.check()
