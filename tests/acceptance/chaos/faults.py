"""The faults of a run: drawn from a seeded generator, done to a stack, and mended.

Processes are killed and stopped. Networks are torn in the kernel, by iptables in a network namespace of the run's own:
a server is *cut* off, *deaf* (nothing reaches it) or *mute* (it does what it is asked, but nobody hears of it); the
link of a replica to its primary is cut while both serve others; a primary is lost to all but the gates that it serves
already, so that it is replaced while they still trust it; packets are lost at random.

Files go back in time (`set_files`): a set's older backup is put back, its servers come back with an older disk, an
append-only file is cut, all files of a set are lost, somebody turns the writing off by hand.
"""

import asyncio
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from tests.acceptance.chaos.set_files import SetFiles
from tests.acceptance.chaos.stack import Process, Stack

Rule = tuple[str, ...]
"""What packets to drop, as iptables takes it."""

IPTABLES: Final = ("iptables", "--wait", "5")
TCP: Final = ("--protocol", "tcp")
DROP: Final = ("--jump", "DROP")
ACCEPT: Final = ("--jump", "ACCEPT")
LOSS_MIN: Final = 0.02
LOSS_MAX: Final = 0.2
SCENARIO_SHARE: Final = 0.4
EVERYBODY_SHARE: Final = 0.1
"""Part of the runs in which the whole stack is killed; it takes seconds to come up again."""
LONG_SHARE: Final = 0.35
"""Part of the stops and cuts that last longer than a warden waits for a server."""
FILES_SHARE: Final = 0.25
"""Part of the runs in which a set's files are hurt; an operator mends it, which takes some ten seconds."""
FILES_AFTER_S: Final = 2.0
"""Until then the copy that is put back is too young to lack much."""


class Kind(StrEnum):
    """What is done."""

    KILL = "killed"
    STOP = "stopped"
    CUT = "cut off"
    DEAF = "deaf"
    MUTE = "mute"
    UNLINK = "link to its primary cut"
    SPLIT = "lost to all but gates"
    LOSS = "packets lost"
    ROLLBACK = "rolled back to a backup"
    SNAPSHOT = "back with an older disk"
    SHORTEN = "cut in its file"
    WIPE = "wiped"
    SETTINGS = "writing no file by order"


FILE_KINDS: Final = (Kind.ROLLBACK, Kind.SNAPSHOT, Kind.SHORTEN, Kind.WIPE, Kind.SETTINGS)
MOMENTS: Final = frozenset({Kind.KILL, *FILE_KINDS})
"""What takes no time."""
SETTINGS: Final = ("appendonly", "appendfsync")


class Target(StrEnum):
    """To whom. One of each is drawn; a set's servers may both be meant."""

    GATE = "gate"
    STORE = "store"
    REPLICA = "replica"
    BOTH = "store and replica"
    RECORDER = "recorder"
    SETTLE = "settle"
    CONTROL = "control"
    POSTGRES = "postgres"
    EVERYBODY = "everybody"


PROCESS_TARGETS: Final = (
    *[Target.GATE] * 3, *[Target.STORE] * 5, *[Target.REPLICA] * 3, *[Target.BOTH] * 2, Target.RECORDER, Target.SETTLE,
    *[Target.CONTROL] * 2, Target.POSTGRES,
)  # fmt: skip
NETWORK_TARGETS: Final = (*[Target.STORE] * 5, *[Target.REPLICA] * 2, Target.BOTH, Target.POSTGRES)


@dataclass(frozen=True)
class Fault:
    """`after_s` the beginning of the run; a kill takes no time. `pick` chooses among those whom the target fits."""

    after_s: float
    kind: Kind
    target: Target
    lasts_s: float = 0.0
    pick: float = 0.0
    loss: float = 0.0

    def __str__(self) -> str:
        lasts = "" if self.kind in MOMENTS else f" for {self.lasts_s:.2f} s"
        return f"at {self.after_s:.2f} s: {self.target} {self.kind}{lasts}"


def _scenarios(*, network: bool) -> dict[str, list[Fault]]:
    """Return courses of events that lose grants where one link of the chain is missing; chance finds them rarely."""
    stop, kill, cut = Kind.STOP, Kind.KILL, Kind.CUT
    known = {
        "a primary hangs, is replaced, and comes back": [
            Fault(0.3, stop, Target.STORE, 3.8),
        ],
        "the replica is away, then everything that the primary alone has acknowledged is put to the test": [
            Fault(0.2, stop, Target.REPLICA, 4.0), Fault(3.0, kill, Target.STORE),
        ],
        "the warden hangs while a primary is killed, and wakes up to what it missed": [
            Fault(0.2, stop, Target.CONTROL, 3.0), Fault(0.5, stop, Target.STORE, 3.5),
            Fault(3.4, kill, Target.REPLICA),
        ],
        "a set dies with all its copies, twice": [
            Fault(0.3, kill, Target.BOTH), Fault(2.0, kill, Target.BOTH),
        ],
    }  # fmt: skip
    if network:
        known |= {
            "a primary is replaced while its gates still see it": [
                Fault(0.3, Kind.SPLIT, Target.STORE, 4.0),
            ],
            "a primary loses its replica just before it is lost": [
                Fault(0.3, Kind.UNLINK, Target.REPLICA, 0.6), Fault(0.7, stop, Target.STORE, 3.5),
            ],
            "a primary does what it is told and nobody hears of it": [
                Fault(0.3, Kind.MUTE, Target.STORE, 4.0),
            ],
            "a new primary is lost as soon as it is one": [
                Fault(0.2, cut, Target.STORE, 3.0), Fault(3.3, stop, Target.STORE, 0.8),
            ],
        }  # fmt: skip
    return known


def draw_faults(rng: random.Random, within_s: float, *, network: bool) -> list[Fault]:
    """Return some faults in order of time; all have ended `within_s` their run's beginning, which is 4.5 s or more.

    A part of the runs follows a scenario, with one thing by chance besides. In half of the others all that happens to
    sets happens to the same one. In some runs everybody dies besides.
    """
    count = rng.randint(2, 5)
    faults = [_draw(rng, within_s, network=network and rng.random() < 0.5) for _ in range(count)]
    if rng.random() < SCENARIO_SHARE:
        scenario = rng.choice(list(_scenarios(network=network).values()))
        pick = rng.random()
        faults = [*(replace(fault, pick=pick) for fault in scenario), faults[0]]
    elif rng.random() < 0.5:
        faults = [replace(fault, pick=faults[0].pick) for fault in faults]
    if rng.random() < EVERYBODY_SHARE:
        faults.append(Fault(rng.uniform(0.5, within_s), Kind.KILL, Target.EVERYBODY))
    return sorted(faults, key=lambda fault: fault.after_s)


def draw_file_faults(rng: random.Random, within_s: float, kind: Kind | None = None) -> list[Fault]:
    """Return a fault of a set's files, of this kind or of any, and perhaps one of a process before it."""
    kind = kind or rng.choice(FILE_KINDS)
    target = rng.choice((Target.STORE, Target.BOTH)) if kind in {Kind.SHORTEN, Kind.SETTINGS} else Target.BOTH
    faults = [Fault(rng.uniform(FILES_AFTER_S, within_s), kind, target, pick=rng.random(), loss=rng.random())]
    if rng.random() < 0.5:
        before = Fault(rng.uniform(0.1, FILES_AFTER_S), Kind.KILL, rng.choice(PROCESS_TARGETS), pick=rng.random())
        faults.insert(0, before)
    return faults


def _draw(rng: random.Random, within_s: float, *, network: bool) -> Fault:
    lasts_s = rng.uniform(2.2, 3.6) if rng.random() < LONG_SHARE else rng.uniform(0.2, 2.0)
    after_s = rng.uniform(0.1, within_s - lasts_s)
    if not network:
        kind, target = rng.choice((Kind.KILL, Kind.STOP)), rng.choice(PROCESS_TARGETS)
    else:
        kind = rng.choice((Kind.CUT, Kind.DEAF, Kind.MUTE, Kind.UNLINK, Kind.SPLIT, Kind.SPLIT, Kind.LOSS))
        target = rng.choice(NETWORK_TARGETS)
        if kind is Kind.LOSS:
            target = Target.EVERYBODY
        elif kind is Kind.UNLINK:
            target = Target.REPLICA
        elif kind is Kind.SPLIT:
            target = Target.STORE
    return Fault(after_s, kind, target, lasts_s, rng.random(), rng.uniform(LOSS_MIN, LOSS_MAX))


class Breaker:
    """Does faults to a stack; `toll` counts what was really done."""

    def __init__(self, stack: Stack, say: Callable[[str], None]) -> None:
        self.toll: Counter[str] = Counter()
        self.files = SetFiles(stack)
        self._stack = stack
        self._say = say
        self._stopped: list[Process] = []
        self._rules: list[Rule] = []

    async def run(self, faults: Sequence[Fault]) -> None:
        """Do all of them, each at its time, and return when all have ended."""
        began_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.TaskGroup() as doing:
                for fault in faults:
                    doing.create_task(self._do(fault, began_s))
        finally:
            await self.heal()

    async def heal(self) -> None:
        """Let everybody go on, and every packet pass."""
        for process in self._stopped:
            process.send(signal.SIGCONT)
        self._stopped.clear()
        if self._rules:
            await _run(*IPTABLES, "--flush")
            self._rules.clear()

    async def _do(self, fault: Fault, began_s: float) -> None:
        await asyncio.sleep(began_s + fault.after_s - asyncio.get_running_loop().time())
        victims = self._victims(fault)
        if not victims and fault.target is not Target.EVERYBODY:
            return
        self._say(f"{fault} ({', '.join(victim.name for victim in victims)})")
        self.toll[f"{fault.target} {fault.kind}"] += 1
        if fault.kind is Kind.KILL and fault.target is Target.EVERYBODY:
            self._stack.kill()
            await self._stack.gone()
            await self._stack.up()
        elif fault.kind is Kind.KILL:
            for victim in victims:
                victim.send(signal.SIGKILL)
        elif fault.kind in FILE_KINDS:
            await self._hurt_files(fault, victims)
        elif fault.kind is Kind.STOP:
            await self._stop(victims, fault.lasts_s)
        else:
            await self._tear(await self._rules_of(fault, victims), fault.lasts_s)

    async def _hurt_files(self, fault: Fault, victims: list[Process]) -> None:
        set_id = victims[0].set
        assert set_id is not None
        if fault.kind in {Kind.ROLLBACK, Kind.WIPE}:
            in_order = fault.loss < 0.5
            hurt = self.files.roll_back if fault.kind is Kind.ROLLBACK else self.files.wipe
            await hurt(set_id, in_order=in_order)
        elif fault.kind is Kind.SNAPSHOT:
            await self.files.come_back_older(victims, set_id)
        elif fault.kind is Kind.SHORTEN:
            await self.files.cut(victims, fault.loss)
        else:
            await self.files.leave_unwritten(victims, SETTINGS[fault.loss < 0.5])

    def _victims(self, fault: Fault) -> list[Process]:
        running = self._stack.processes()
        if fault.target is Target.BOTH:
            sets = sorted({process.set for process in running if process.set is not None})
            if not sets:  # everybody was killed a moment ago
                return []
            chosen = sets[int(fault.pick * len(sets))]
            return [process for process in running if process.set == chosen and process.role in {"store", "replica"}]
        fitting = [process for process in running if process.role == fault.target]
        return fitting[int(fault.pick * len(fitting)) :][:1]

    async def _stop(self, victims: list[Process], lasts_s: float) -> None:
        for victim in victims:
            if victim.send(signal.SIGSTOP):
                self._stopped.append(victim)
        await asyncio.sleep(lasts_s)
        for victim in victims:
            victim.send(signal.SIGCONT)
            if victim in self._stopped:
                self._stopped.remove(victim)

    async def _rules_of(self, fault: Fault, victims: list[Process]) -> list[Rule]:
        """Return what INPUT drops. On loopback every packet passes it once."""
        if fault.kind is Kind.LOSS:
            # What the crowd hears is redrush's to tell; what it does not hear, it asks again.
            return [(*TCP, "--match", "statistic", "--mode", "random", "--probability", f"{fault.loss:.3f}", *DROP)]
        ports = [victim.port for victim in victims]
        if fault.kind is Kind.UNLINK:
            return [rule for victim in victims for rule in await _link_rules(victim)]
        towards: list[Rule] = [(*TCP, "--destination-port", str(port), *DROP) for port in ports]
        back: list[Rule] = [(*TCP, "--source-port", str(port), *DROP) for port in ports]
        if fault.kind is Kind.SPLIT:
            gates = {process.pid for process in self._stack.processes() if process.role == "gate"}
            return [*await _passes(gates, set(ports)), *towards, *back]
        return {Kind.CUT: towards + back, Kind.DEAF: towards, Kind.MUTE: back}[fault.kind]

    async def _tear(self, rules: list[Rule], lasts_s: float) -> None:
        for rule in rules:
            await _run(*IPTABLES, "--append", "INPUT", *rule)
            self._rules.append(rule)
        await asyncio.sleep(lasts_s)
        for rule in rules:
            await _run(*IPTABLES, "--delete", "INPUT", *rule)
            self._rules.remove(rule)


async def _link_rules(replica: Process) -> list[Rule]:
    """Return rules that drop what goes over connections that the replica has made, which is the one to its primary."""
    return [
        (*TCP, "--source-port", source, "--destination-port", destination, *DROP)
        for here, there in await _connections({replica.pid})
        if here != str(replica.port)
        for source, destination in ((here, there), (there, here))
    ]


async def _passes(clients: set[int], ports: set[int]) -> list[Rule]:
    """Return rules that let pass what goes over the connections which these processes have to these ports now."""
    return [
        (*TCP, "--source-port", source, "--destination-port", destination, *ACCEPT)
        for here, there in await _connections(clients)
        if int(there) in ports
        for source, destination in ((here, there), (there, here))
    ]


async def _connections(pids: set[int]) -> list[tuple[str, str]]:
    """Return the ports, here and there, of the connections of these processes."""
    found = []
    listed = await _run("ss", "--tcp", "--no-header", "--numeric", "--processes", "state", "established")
    for line in listed.splitlines():
        _, _, here, there, *holders = line.split()
        if any(f"pid={pid}," in " ".join(holders) for pid in pids):
            found.append((here.rpartition(":")[2], there.rpartition(":")[2]))
    return found


async def _run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {err.decode()}")
    return out.decode()
