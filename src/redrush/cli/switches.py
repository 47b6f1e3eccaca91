"""`redrush switch` and `redrush playbook`: thin over `redrush.operate.switching`, with or without a running server."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from redrush.cli.at_console import add_console_to, console_meant
from redrush.cli.declaring import Argument, Group, Option
from redrush.cli.shared_options import (
    DataOption,
    DeployOption,
    JsonOption,
    TokenOption,
    WhoOption,
    WhyOption,
    holder_of,
    show,
    who_is,
)
from redrush.core.steering.switches import shown
from redrush.errors import ConfigError

if TYPE_CHECKING:
    from redrush.control.orders import BoardOrder
    from redrush.operate.switching import Holder

switch_app = Group(help="Operator settings that act on a running event at once.")
playbook_app = Group(help="Named lists of switch settings, applied and undone as one.")
add_console_to(switch_app)
add_console_to(playbook_app)

NameArgument = Annotated[str, Argument(metavar="NAME")]


def _ask(data: Path | None, deploy: Path | None, order: "BoardOrder", holder: "Holder | None" = None) -> dict[str, Any]:
    from redrush.control.data_dir import DataDir
    from redrush.operate.switching import Holder, operate, operate_deployment

    if (at := console_meant(data, deploy)) is not None:
        from redrush.operate.at_console import carry_out

        return carry_out(at, order)
    holder = holder or Holder()
    if data is not None and deploy is None:
        return operate(DataDir(data), order, holder)
    if deploy is not None and data is None:
        return operate_deployment(deploy, order, holder)
    raise ConfigError(
        "say which event: --data DIR on the machine where it runs, --deploy FILE from elsewhere, or `redrush switch "
        "--console URL --key FILE …`"
    )


def _order(data: Path | None, deploy: Path | None, order: "BoardOrder", holder: "Holder", *, as_json: bool) -> None:
    """Have something changed, and show what that did."""
    fields = _ask(data, deploy, order, holder)
    show(fields, _effect_lines(fields), as_json=as_json)


def _effect_lines(fields: dict[str, Any]) -> list[str]:
    """Return what a change did, in words."""
    lines = [
        f"{change['switch']}: {shown(change['from'])} -> {shown(change['to'])}" for change in fields["changes"]
    ] or ["nothing changed"]
    lines += [f"{kept['switch']}: stays {shown(kept['value'])}, set by {kept['set_by']}" for kept in fields["kept"]]
    if not fields["live"]:
        lines.append("no server runs on this directory: this holds from its next start on")
    return lines


@switch_app.command("list")
def list_switches(data: DataOption = None, deploy: DeployOption = None, as_json: JsonOption = False) -> None:
    """Show every switch, its value, and who has set it."""
    from redrush.control.orders import ListSwitches

    fields = _ask(data, deploy, ListSwitches())
    lines = []
    for row in fields["switches"]:
        by = f"  (default {shown(row['default'])}; set by {row['set_by']})" if row["set_by"] else ""
        lines += [f"{row['name']} = {shown(row['value'])}{by}", f"    {row['does']}: {row['accepts']}"]
    show(fields, lines, as_json=as_json)


@switch_app.command("set", context_settings={"ignore_unknown_options": True})
def set_switch(  # noqa: PLR0913, PLR0917 - options of one command
    name: NameArgument,
    value: Annotated[str, Argument(metavar="VALUE", help='A number, true, false, or "off".')],
    data: DataOption = None,
    deploy: DeployOption = None,
    why: WhyOption = "",
    who: WhoOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set a switch. It holds, whatever automatic rules want, until it is set again or released."""
    from redrush.control.orders import SetSwitch

    _order(data, deploy, SetSwitch(name, value, why), holder_of(who, token), as_json=as_json)


@switch_app.command("release")
def release_switch(
    name: NameArgument,
    data: DataOption = None,
    deploy: DeployOption = None,
    why: WhyOption = "",
    who: WhoOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take back what was set by hand: playbooks, rules and the default have the switch again."""
    from redrush.control.orders import ReleaseSwitch

    _order(data, deploy, ReleaseSwitch(name, why), holder_of(who, token), as_json=as_json)


@switch_app.command("log")
def show_log(data: DataOption = None, deploy: DeployOption = None, as_json: JsonOption = False) -> None:
    """Show who changed what, when and why; the newest thousand changes, oldest first."""
    from redrush.control.orders import ReadLog

    fields = _ask(data, deploy, ReadLog())
    show(fields, [_entry_line(entry) for entry in fields["entries"]], as_json=as_json)


@switch_app.command("accept")
def accept_log(
    data: Annotated[Path, Option("--data", metavar="DIR", help="Directory that holds the log of switches.")],
    why: WhyOption,
    who: WhoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a log of switches that was lost, cut, damaged or wound back, as it is. No server may be running."""
    from redrush.control.data_dir import DataDir
    from redrush.operate.switching import accept_switches

    done = accept_switches(DataDir(data), why, who_is(who))
    lines = [f"{data}: goes on with {done['changes']} changes of switches; see what holds: redrush switch list"]
    if done["old"]:
        lines.append(f"what was there is {done['old']}")
    show(done, lines, as_json=as_json)


def _entry_line(entry: dict[str, Any]) -> str:
    what = entry["what"]
    why = f" [{entry['why']}]" if entry["why"] else ""
    said = f" ({entry['said']}, as said)" if entry.get("said") else ""
    head = f"{entry['at']} {entry['who']}{said}:"
    if what["action"] == "order":
        return f"{head} {' '.join(filter(None, [what['order'], 'set', what['set'], what['address']]))}{why}"
    changes = ", ".join(f"{c['switch']}: {shown(c['from'])} -> {shown(c['to'])}" for c in entry["changes"])
    return f"{head} {what['action']} {what.get('switch') or what.get('playbook')}{why}: {changes or 'nothing changed'}"


@playbook_app.command("list")
def list_playbooks(data: DataOption = None, deploy: DeployOption = None, as_json: JsonOption = False) -> None:
    """Show the playbooks of the campaign, and which are applied."""
    from redrush.control.orders import ListPlaybooks

    fields = _ask(data, deploy, ListPlaybooks())
    lines = []
    for row in fields["playbooks"]:
        state = f"applied by {row['applied_by']}" if row["applied_by"] else "not applied"
        settings = ", ".join(f"{name} = {shown(value)}" for name, value in row["settings"].items())
        lines += [f"{row['name']} ({state}): {row['description']}", f"    {settings}"]
    show(fields, lines, as_json=as_json)


@playbook_app.command("apply")
def apply_playbook(
    name: NameArgument,
    data: DataOption = None,
    deploy: DeployOption = None,
    why: WhyOption = "",
    who: WhoOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set every switch of the playbook, as one change."""
    from redrush.control.orders import ApplyPlaybook

    _order(data, deploy, ApplyPlaybook(name, why), holder_of(who, token), as_json=as_json)


@playbook_app.command("undo")
def undo_playbook(
    name: NameArgument,
    data: DataOption = None,
    deploy: DeployOption = None,
    why: WhyOption = "",
    who: WhoOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring back what was there before the playbook, but for what somebody has set since."""
    from redrush.control.orders import UndoPlaybook

    _order(data, deploy, UndoPlaybook(name, why), holder_of(who, token), as_json=as_json)
