import random

import msgspec
import pytest

from redrush.core.sets.failover import (
    LAG_BYTES_MAX,
    RAISE_AFTER_US,
    Fence,
    Follow,
    Noted,
    Policy,
    Promote,
    Seen,
    Sight,
    Step,
    Terms,
    Wait,
    next_step,
    primary_of,
    wanted_replicas,
)

POLICY = Policy(replicas_needed=1, lower_after_us=2_000_000)


def primary(epoch: int, needed: int = 1, offset: int = 500, *, detached: bool = False) -> Seen:
    return Seen(is_primary=True, is_named=True, terms=Terms(epoch, needed), offset=offset, is_detached=detached)


def replica(of: str, epoch: int, needed: int = 1, offset: int = 500, *, linked: bool = True) -> Seen:
    return Seen(is_primary=False, terms=Terms(epoch, needed), offset=offset, follows=of, is_linked=linked)


EMPTY = Seen(is_primary=True, terms=None, offset=0)


def sight(
    seen: dict[str, Seen], noted: Noted, dead: str = "", *, servers: str = "ab", short_us: int = 0, ample_us: int = 0
) -> Sight:
    return Sight(
        addresses=tuple(servers),
        seen=seen,
        dead=set(dead),
        noted=noted,
        policy=POLICY,
        short_us=short_us,
        ample_us=ample_us,
    )


LONG_US = 10 * RAISE_AFTER_US
A7 = Noted(7, "a")


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        pytest.param(sight({"a": primary(7), "b": replica("a", 7)}, A7), Wait(), id="all is well"),
        pytest.param(sight({"a": primary(7), "b": primary(6)}, A7), Follow("b", "a"), id="an old primary follows"),
        pytest.param(sight({"a": primary(7), "b": EMPTY}, A7), Follow("b", "a"), id="an empty server follows"),
        pytest.param(
            sight({"a": primary(7)}, A7, short_us=LONG_US), Fence("a", Terms(8, 0)), id="the replica is gone for long"
        ),
        pytest.param(
            sight({"a": primary(7, 0), "b": replica("a", 7, 0)}, A7, ample_us=LONG_US),
            Fence("a", Terms(8, 1)),
            id="the replica is back for long enough",
        ),
        pytest.param(
            sight({"a": primary(7, 0), "b": replica("a", 7, 0)}, A7), Wait(), id="the replica is back since now"
        ),
        pytest.param(
            sight({"a": primary(7, 0, offset=9 + LAG_BYTES_MAX), "b": replica("a", 7, 0, offset=8)}, A7, ample_us=9),
            Wait(),
            id="the replica is far behind",
        ),
        pytest.param(sight({"b": replica("a", 7)}, A7, "a"), Promote(("b",), 8), id="the primary is dead"),
        pytest.param(
            sight({"b": primary(7)}, A7, "a"), Promote(("b",), 8), id="it is dead, and the replica was detached already"
        ),
        pytest.param(
            sight({"b": replica("a", 7), "c": replica("a", 7)}, A7, "a", servers="abc"),
            Promote(("b", "c"), 8),
            id="it is dead, and either replica may have more",
        ),
        pytest.param(
            sight({"b": primary(7, detached=True), "c": replica("a", 7)}, A7, "a", servers="abc"),
            Promote(("b", "c"), 8),
            id="a promotion was cut off half-way",
        ),
        pytest.param(
            sight({"a": primary(7), "b": primary(7)}, A7),
            Follow("b", "a"),
            id="of two of one epoch the noted one is it",
        ),
        pytest.param(
            sight({"a": primary(7), "b": primary(8, 0)}, A7),
            Follow("a", "b"),
            id="somebody promoted another one under a later epoch",
        ),
        pytest.param(
            sight({"b": primary(7), "a": primary(7)}, Noted(8, "b")),
            Fence("b", Terms(9, 0)),
            id="the noted terms did not reach the promoted one",
        ),
        pytest.param(
            sight({"a": replica("b", 7, 0, linked=False)}, A7, "b"),
            Promote(("a",), 8),
            id="the primary was restarted as a replica of nobody who answers",
        ),
        pytest.param(
            sight({"a": replica("b", 7), "b": msgspec.structs.replace(primary(7), is_primary=False)}, A7),
            Promote(("b",), 8),
            id="somebody made the primary a copy of another one, whose terms these are not",
        ),
        pytest.param(
            sight({"a": EMPTY, "b": replica("a", 7, linked=False)}, A7),
            Promote(("b",), 8),
            id="the primary came back without its data",
        ),
        pytest.param(
            sight({"a": primary(7), "b": replica("a", 7)}, Noted()), Wait(), id="nothing noted, and all is there to see"
        ),
        pytest.param(
            sight({"a": replica("b", 7), "b": replica("a", 7)}, A7), Promote(("b",), 8), id="it follows its own replica"
        ),
    ],
)
def test_what_is_done(seen: Sight, step: Step) -> None:
    assert next_step(seen) == step


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        pytest.param(sight({"b": replica("a", 7)}, A7), "for a moment", id="silent, not dead"),
        pytest.param(sight({"a": primary(7)}, A7), "needs 1 replicas and has 0", id="the replica is gone since now"),
        pytest.param(
            sight({"b": replica("a", 6)}, A7, "a"), "no replica surely has all", id="the replica missed an epoch"
        ),
        pytest.param(
            sight({"b": replica("a", 7, 0)}, A7, "a"), "no replica surely has all", id="the primary was on its own"
        ),
        pytest.param(sight({"b": EMPTY}, A7, "a"), "no replica surely has all", id="the other one is empty"),
        pytest.param(sight({}, A7, "ab"), "no replica surely has all", id="nobody is there"),
        pytest.param(
            sight({"b": replica("a", 7)}, A7, "ac", servers="abc"), "1 other servers may", id="another may know more"
        ),
        pytest.param(
            sight({"b": primary(7), "c": replica("a", 7)}, A7, "a", servers="abc"),
            "an operator must decide",
            id="one was written to while nobody ranked it",
        ),
        pytest.param(sight({"b": replica("a", 7)}, Noted(), "a"), "no primary was noted", id="nothing was noted"),
        pytest.param(
            sight({"a": primary(7)}, Noted(), "b"), "no primary was noted", id="an old primary alone, nothing noted"
        ),
        pytest.param(
            sight({"a": replica("b", 7), "b": replica("c", 7)}, A7),
            "does not answer as one; `redrush set promote SET b`",
            id="it follows another now",
        ),
        pytest.param(
            sight({"a": replica("b", 7, needed=0), "b": replica("a", 7, needed=0)}, A7),
            "may lack grants; `redrush set promote SET b`",
            id="it follows its replica, and all rested on its own disk",
        ),
        pytest.param(
            sight({"a": replica("b", 7), "b": replica("a", 7), "c": replica("a", 6)}, A7, servers="abc"),
            "may lack grants",
            id="it follows its replica, and another may know more",
        ),
        pytest.param(
            sight({"a": primary(7)}, Noted(8, "b"), "b"), "no replica surely has all", id="the promoted one is away"
        ),
    ],
)
def test_when_nothing_can_be_done(seen: Sight, why: str) -> None:
    step = next_step(seen)
    assert isinstance(step, Wait)
    assert step.why is not None
    assert why in step.why


# --- against a model


class Server:
    """A server of the model. `history` is what it has: numbers of writes in order; `disk` survives everything."""

    def __init__(self) -> None:
        self.history: list[int] = []
        self.terms: Terms | None = None
        self.follows: str | None = None
        self.is_up = True
        self.is_hidden = False  # from the warden, by a torn network
        self.mark: tuple[int, int] | None = None
        self.named: str | None = None


class Model:
    """A set whose servers crash and part, a crowd that writes wherever it may, and wardens that die at any point."""

    def __init__(self, rng: random.Random, count: int) -> None:
        self.rng = rng
        self.servers = {name: Server() for name in "abc"[:count]}
        first, *others = self.servers
        for server in self.servers.values():
            server.terms = Terms(1, 1)
        for name in others:
            self.servers[name].follows = first
        self.noted = Noted(1, first)
        self.acknowledged: set[int] = set()
        self.writes = 0

    def up(self, name: str) -> bool:
        return self.servers[name].is_up

    def catch_up(self, name: str) -> None:
        """A replica copies what its primary has, terms included."""
        server = self.servers[name]
        source = self.servers[server.follows] if server.follows else None
        if source and server.is_up and source.is_up and not source.follows:
            server.history, server.terms = list(source.history), source.terms
            server.mark, server.named = source.mark, source.named

    def write(self, name: str) -> None:
        """Somebody writes to what thinks it is a primary; enough followers have it, or it is not acknowledged."""
        server = self.servers[name]
        if not server.is_up or server.follows or server.terms is None or server.named not in {None, name}:
            return
        self.writes += 1
        server.history.append(self.writes)
        followers = [other for other, held in self.servers.items() if held.follows == name and held.is_up]
        having = self.rng.sample(followers, self.rng.randrange(len(followers) + 1))
        for other in having:
            self.catch_up(other)
        if len(having) >= server.terms.replicas_needed:
            self.acknowledged.add(self.writes)

    def look(self) -> Sight:
        seen = {}
        for name, server in self.servers.items():
            if not server.is_up or server.is_hidden:
                continue
            source = self.servers[server.follows] if server.follows else None
            seen[name] = Seen(
                is_primary=server.follows is None and server.named in {None, name},
                is_named=server.named is not None,
                terms=server.terms,
                offset=0,
                is_detached=server.mark is not None
                and server.terms is not None
                and server.mark[0] == server.terms.epoch,
                follows=server.follows,
                is_linked=source is not None and source.is_up and source.follows is None,
            )
        dead = self.servers.keys() - seen.keys()
        return Sight(
            addresses=tuple(self.servers),
            seen=seen,
            dead=dead,
            noted=self.noted,
            policy=POLICY,
            short_us=LONG_US,
            ample_us=LONG_US,
        )

    def act(self) -> None:
        """Take the next step, or, as a warden may, only the beginning of it."""
        seen = self.look()
        found = primary_of(seen)
        if found is not None:
            terms = seen.seen[found].terms
            assert terms is not None
            if terms.epoch >= self.noted.epoch:
                self.noted = Noted(terms.epoch, found)
        step = next_step(self.look())
        if isinstance(step, Follow):
            self.servers[step.address].follows = step.primary
        elif isinstance(step, Fence):
            self.fence(step)
        elif isinstance(step, Promote):
            marks = {}
            for name in step.candidates:
                if self.rng.random() < 0.2:
                    return
                server = self.servers[name]
                server.follows = None
                assert server.terms is not None
                if server.mark is None or server.mark[0] != server.terms.epoch:
                    server.mark = (server.terms.epoch, len(server.history))
                marks[name] = server.mark[1]
                self.write(name)
            self.fence(Fence(max(marks, key=marks.__getitem__), Terms(step.epoch, 0)))

    def fence(self, step: Fence) -> None:
        if self.rng.random() < 0.1:
            return
        self.noted = Noted(step.terms.epoch, step.address)
        if self.rng.random() < 0.1:
            return
        self.servers[step.address].terms, self.servers[step.address].named = step.terms, step.address

    def stumble(self) -> None:
        name = self.rng.choice(list(self.servers))
        server = self.servers[name]
        if self.rng.random() < 0.4:
            server.is_hidden = not server.is_hidden
            return
        server.is_up = not server.is_up
        if server.is_up and self.rng.random() < 0.5:
            server.follows = None  # it was started as nobody's replica

    def check(self) -> None:
        """Whoever is under the latest terms that are in force, and may acknowledge, has all that was acknowledged."""
        for name, server in self.servers.items():
            if name == primary_of(self.look()):
                assert self.acknowledged <= set(server.history), f"{name} lacks acknowledged writes"


@pytest.mark.parametrize("seed", range(300))
def test_in_no_course_of_events_is_anything_acknowledged_lost(seed: int) -> None:
    rng = random.Random(seed)
    model = Model(rng, rng.choice((2, 2, 3)))
    for _ in range(300):
        choice = rng.random()
        if choice < 0.5:
            model.write(rng.choice(list(model.servers)))
        elif choice < 0.6:
            model.stumble()
        elif choice < 0.8:
            model.catch_up(rng.choice(list(model.servers)))
        else:
            model.act()
        model.check()
    for server in model.servers.values():
        server.is_up, server.is_hidden = True, False
    for _ in range(30):
        model.act()
        for name in model.servers:
            model.catch_up(name)
    found = primary_of(model.look())
    if found is not None:  # else an operator must decide, which is better than to lose something
        assert model.acknowledged <= set(model.servers[found].history)
        assert wanted_replicas(model.look(), found) == 1
