"""The drills that can be played by name. Another one is a module with a function like these, and a line here.

A drill breaks something real on real processes, measures what people see, and ends with verdicts. `short` plays the
same in some fifteen seconds, for `make test`; published figures come from the long form.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from redrush.drill.draw import draw_drill
from redrush.drill.drill_report import DrillReport
from redrush.drill.group_packets import group_packets
from redrush.drill.hot_user import hot_user
from redrush.drill.line import line_drill
from redrush.drill.overload import overload
from redrush.drill.rehearsal import REDRUSH, ending_by_sigterm
from redrush.drill.retry_storm import retry_storm
from redrush.drill.sale import sale_drill
from redrush.drill.slow_clients import slow_clients
from redrush.errors import ConfigError
from redrush.extras import require

Tell = Callable[[str], None]


class Drill(msgspec.Struct, frozen=True):
    """`play(directory, redrush, short, tell)` keeps everything in the directory; `redrush` is the command that is
    redrush, `tell` gets a line of progress. Raises RedrushError when it cannot be played."""

    name: str
    asks: str
    play: Callable[[Path, Sequence[str], bool, Tell], DrillReport]


def _faults(directory: Path, redrush: Sequence[str], short: bool, tell: Tell) -> DrillReport:
    require("stack", "redrush drill faults")
    from redrush.drill.faults import faults  # noqa: PLC0415 - it plays on a stack, and the others need none

    return faults(directory, redrush, short, tell)


def _sale_on_a_stack(directory: Path, redrush: Sequence[str], short: bool, tell: Tell) -> DrillReport:
    require("stack", "redrush drill sale-on-a-stack")
    from redrush.drill.sale_on_a_stack import sale_on_a_stack  # noqa: PLC0415 - as above

    return sale_on_a_stack(directory, redrush, short, tell)


DRILLS = (
    Drill("overload", "in a tenfold rush, are packets given out at full speed and all others told at once?", overload),
    Drill("retry-storm", "does an outage of seconds end when it ends, whatever the clients do?", retry_storm),
    Drill("slow-clients", "do thousands who hardly use their connections cost the others anything?", slow_clients),
    Drill("hot-user", "does one user with a hundred requests a second cost the others anything?", hot_user),
    Drill("group-packets", "are many packets between people paid, shared and given back to the cent?", group_packets),
    Drill("draw", "does every play come to what its sealed key says, and no prize beyond its stock?", draw_drill),
    Drill("line", "does everybody go in at their turn and at the pace, whoever pushes, stays away, dies?", line_drill),
    Drill("sale", "is every unit sold once, and every payment a unit or a refund, whoever dies?", sale_drill),
    Drill("sale-on-a-stack", "is it so over several sets, and when the role dies that settles it?", _sale_on_a_stack),
    Drill("faults", "what do people notice when processes of a deployment die or hang?", _faults),
)  # fmt: skip


def drill_named(name: str) -> Drill:
    """Return the drill. ConfigError, with the names there are, if there is none of that name."""
    for drill in DRILLS:
        if drill.name == name:
            return drill
    raise ConfigError(f'"{name}" is no drill; there are: {", ".join(drill.name for drill in DRILLS)}')


def play_drill(name: str, directory: Path, tell: Tell, *, short: bool, redrush: Sequence[str] = REDRUSH) -> DrillReport:
    """Play a drill and return its report. For the main thread: Ctrl-C and SIGTERM end it and whoever it has started.

    ConfigError for an unknown name; RedrushError when it cannot be played."""
    with ending_by_sigterm():
        return drill_named(name).play(directory, redrush, short, tell)


def play_dry_run(
    file: Path, directory: Path, tell: Tell, *, short: bool, redrush: Sequence[str] = REDRUSH
) -> DrillReport:
    """Play somebody's campaign file as `play_drill` does a drill. ConfigError for a file that is not fine."""
    from redrush.drill.dry_run import dry_run  # noqa: PLC0415 - it changes the file by a library that few have

    with ending_by_sigterm():
        return dry_run(file, directory, redrush, short, tell)
