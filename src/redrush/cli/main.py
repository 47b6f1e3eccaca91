"""The `redrush` command. Each command is a few lines over one function elsewhere; imports wait until they are needed,
so that `serve` starts fast and `--help` at once.

Exit codes: 0 fine, 1 a check or an operation failed, 2 wrong usage or configuration.
"""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Final

import click

from redrush import __version__
from redrush.cli import (
    background,
    backups,
    beginning,
    books,
    console,
    delivering,
    drills,
    lines,
    logging_in,
    outermost,
    paying,
    proving,
    publishing,
    roles,
    webhook_keys,
)
from redrush.cli.audience import audience_app
from redrush.cli.campaigns import campaign_app
from redrush.cli.declaring import Argument, Group, Option
from redrush.cli.login_keys import login_key_app
from redrush.cli.operators import operator_app
from redrush.cli.output import print_data_as_utf8
from redrush.cli.sets import set_app
from redrush.cli.shared_options import (
    ConsolePortOption,
    JsonOption,
    KeysFromOption,
    LanguageOption,
    keys_source,
    show,
    warn,
    who_is,
)
from redrush.cli.stack import stack_app
from redrush.cli.switches import playbook_app, switch_app
from redrush.cli.usage import run_app
from redrush.errors import RedrushError

SECTIONS: Final = {
    "Prepare": ("init", "check", "seal", "audience", "ticket", "login-key", "webhook-key", "publish"),
    "Rehearse": ("demo", "drill", "bench", "sandbox"),
    "Run": ("serve", "stack", "stop", "campaign", "console", "user", "operator"),
    "Steer": ("switch", "playbook"),
    "Prove": ("report", "find", "reconcile", "verify-receipt", "line", "export"),
    "Pay and tell": ("payout", "bills", "refund", "reissue", "message", "erase"),
    "Mend": ("backup", "restore", "book", "set", "found"),
    "Processes of a deployment": ("gate", "recorder", "settle", "control", "query", "payments", "login"),
}
"""The commands in the order in which an event needs them."""

app = Group(sections=SECTIONS)
app.add_group(switch_app, "switch")
app.add_group(playbook_app, "playbook")
app.add_group(stack_app, "stack")
app.add_group(set_app, "set")
app.add_group(login_key_app, "login-key")
app.add_group(audience_app, "audience")
app.add_group(operator_app, "operator")
app.add_group(campaign_app, "campaign")
beginning.add_to(app)
publishing.add_to(app)
background.add_to(app)
backups.add_to(app)
books.add_to(app)
roles.add_to(app)
drills.add_to(app)
proving.add_to(app)
lines.add_to(app)
paying.add_to(app)
delivering.add_to(app)
webhook_keys.add_to(app)
console.add_to(app)
logging_in.add_to(app)

DataOption = Annotated[Path, Option("--data", metavar="DIR", help="Data directory of the event.")]
FileArgument = Annotated[Path, Argument(metavar="FILE", help="Campaign file (TOML).")]


def main() -> None:
    """Run the command line; the process's exit code tells how it went."""
    outermost.run(lambda: run_app(app))


def _tell_version(_context: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        _print(f"redrush {__version__}")
        raise click.exceptions.Exit


@app.before_each
def _of_every_command(
    _version: Annotated[
        bool, Option("--version", callback=_tell_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Events where, at an exact second, a crowd rushes for a fixed amount of money or stock."""


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _print_json(value: Any) -> None:
    _print(json.dumps(value, ensure_ascii=False, indent=2))


@app.command()
def check(
    file: FileArgument,
    payments: Annotated[
        Path | None, Option(metavar="FILE", help="Payments file: asks who is in it, moves nothing, tells nobody.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Validate a campaign file and say what it would hand out; or a deployment file, and say who would run where.

    `-` reads a campaign file from standard input; what it names is then looked for here.
    """
    from redrush.config import given_campaign, is_deployment, read_given
    from redrush.errors import ConfigError
    from redrush.named_file import is_kept
    from redrush.operate.checking import check_campaign, check_deployment
    from redrush.operate.checking_payments import check_deployed_payments, check_payments, needs_payments
    from redrush.wiring.clock import system_clock

    now_us = system_clock().now_us
    more: list[str] = []
    text = read_given(file)
    if is_deployment(text, str(file)):
        if not is_kept(file):
            raise ConfigError(f"{file}: a deployment file is read more than once, and cannot come by a pipe; save it")
        fields, lines = check_deployment(file)
        fields["payments"], more = check_deployed_payments(file, payments, now_us)
    else:
        campaign = given_campaign(text, file)
        fields, lines = check_campaign(campaign, str(file), now_us())
        if payments is not None:
            fields["payments"], more = check_payments(campaign, payments, now_us)
        elif needs := needs_payments(campaign):
            fields["needs_payments"] = needs
            more = [f"  needs --payments FILE, here and where it is served: {'; '.join(needs)}"]
    lines += more
    show(fields, lines, as_json=as_json)


@app.command("seal")
def seal_campaign(file: FileArgument, data: DataOption, keys_from: KeysFromOption = None) -> None:
    """Settle a campaign once for all: instants, amounts and keys, written to DIR, for machines that share them."""
    from redrush.config import load_campaign_file
    from redrush.control.data_dir import DataDir
    from redrush.control.doubts import look_at_audience
    from redrush.control.event import doubts_before, prepare_event
    from redrush.wiring.clock import system_clock

    directory = DataDir(data)
    campaign = load_campaign_file(file)
    source = keys_source(keys_from)
    clock = system_clock()
    # All that can fail comes before the seal.
    warn(doubts_before(campaign, directory, look_at_audience(campaign), clock.now_us(), source))
    sealed = prepare_event(campaign, directory, clock.now_us, source).event.sealed
    _print(f"{data}: campaign {sealed.campaign.id} is sealed; give every machine the same copy, and keep it secret")


@app.command()
def serve(  # noqa: PLR0913, PLR0917 - options of one command
    files: Annotated[list[Path], Argument(metavar="FILE…", help="Campaign files (TOML), the first one first.")],
    data: DataOption,
    port: Annotated[int, Option(bounds=(0, 65535), help="Participants' port; 0: any free one.")] = 8080,
    control_port: Annotated[
        int | None,
        Option(bounds=(0, 65535), help="Port for /metrics, /readyz, /livez and switches; none by default."),
    ] = None,
    host: Annotated[str, Option(help="Address of the participants' port.")] = "127.0.0.1",
    control_host: Annotated[
        str, Option(help="Address of the control port; think twice before it is not loopback.")
    ] = "127.0.0.1",
    control_name: Annotated[
        list[str] | None, Option(metavar="NAME", help="A name under which the control port answers besides.")
    ] = None,
    control_cert: Annotated[
        Path | None, Option(metavar="FILE", help="Certificate of the control port (PEM): it speaks TLS.")
    ] = None,
    control_key: Annotated[Path | None, Option(metavar="FILE", help="The certificate's key (PEM).")] = None,
    console_port: ConsolePortOption = None,
    keys_from: KeysFromOption = None,
    payments: Annotated[Path | None, Option(metavar="FILE", help="Who moves real money (TOML).")] = None,
    detach: Annotated[bool, Option("--detach", help="Return when it is ready; `redrush stop` ends it.")] = False,
) -> None:
    """Run the event on this machine: gate, store, recorder and ledger in one process, until SIGTERM.

    Several files are several campaigns on one port; more can be added while it runs (redrush campaign add).
    """
    from redrush.config import load_campaign_file, load_payments_file

    if detach:
        for file in files:
            load_campaign_file(file)  # a wrong one is told before a directory and its first account are made
        background.serve_detached(data, console_port)
        return
    control_port = console.control_port_beside(console_port, control_port)
    from redrush.control.data_dir import DataDir
    from redrush.core.sets.address import Address
    from redrush.operate.campaigns import add_campaign, check_addition
    from redrush.operate.switching import Holder
    from redrush.wiring.control_tls import Shown
    from redrush.wiring.embedded import Ports, run_embedded

    hosts = {"gate": host, "control": control_host, "notices": "127.0.0.1"}

    def announce(bound: dict[str, int]) -> None:
        for name, number in bound.items():
            scheme = "https" if name == "control" and control_cert is not None else "http"
            sys.stderr.write(f"{name} {scheme}://{Address(hosts[name], number)}\n")
        console.begin_beside(data, console_port, payments)
        sys.stderr.flush()
        _print("ready")
        sys.stdout.flush()

    if (control_cert is None) != (control_key is None):
        raise click.BadParameter("--control-cert goes with --control-key: give both files or neither")
    shown = None if control_cert is None or control_key is None else Shown(control_cert, control_key)
    ports = Ports(host, port, control_port, control_host, tuple(control_name or ()), shown)
    directory, source = DataDir(data), keys_source(keys_from)
    first, *others = map(load_campaign_file, files)
    for campaign in others:
        check_addition(campaign, directory, first.id)

    def add_others() -> None:
        console.tell_first_admin(directory, console_port)
        for campaign in others:
            warn(add_campaign(campaign, directory, Holder(who_is(None)), "serve", source).doubts)

    paying = None if payments is None else load_payments_file(payments)
    run_embedded(first, directory, ports, announce, keys_from=source, sealed=add_others, payments=paying)


@app.command()
def ticket(
    data: DataOption,
    user: Annotated[list[str] | None, Option("--user", help="User id; may be given several times.")] = None,
    users: Annotated[Path | None, Option(metavar="FILE", help="File with one user id a line; - reads stdin.")] = None,
    ttl: Annotated[
        str | None,
        Option(help="How long the tickets last: 30m, 2h, 1d. By default until an hour after the last round."),
    ] = None,
    proven: Annotated[
        bool, Option("--proven", help="Good without proof of work, where the campaign asks for it.")
    ] = False,
    links: Annotated[
        str | None,
        Option(metavar="URL", help="Links to this page with a ticket each, to be sent to one person each."),
    ] = None,
    out: Annotated[
        Path | None,
        Option("--out", "-o", metavar="FILE", help="Write them there: all of them, or no file."),
    ] = None,
) -> None:
    """Print a signed ticket for each user: user, a tab, ticket. For all of them, or for nobody."""
    import time

    from redrush.control.data_dir import DataDir
    from redrush.control.durable_file import writing_durably
    from redrush.control.given_list import given_list
    from redrush.control.issuing import plan_tickets
    from redrush.errors import ConfigError

    print_data_as_utf8()
    now_s = time.time_ns() // 1_000_000_000
    with given_list(users) if users is not None else nullcontext((None, None)) as (kept, list_name):
        plan = plan_tickets(
            DataDir(data), user or [], kept, ttl, now_s, proven=proven, list_name=list_name, links=links
        )
        warn(plan.warnings)
        if out is None:
            for line in plan.lines():
                _print(line)
            return
        try:
            with writing_durably(out) as file:
                file.writelines(f"{line}\n" for line in plan.lines())
        except OSError as fault:
            raise ConfigError(f"{out}: cannot be written: {fault.strerror}") from fault


@app.command("verify-receipt")
def verify_receipt(
    receipt: Annotated[str, Argument(help="The receipt, as the winner got it.")],
    data: DataOption,
    as_json: JsonOption = False,
) -> None:
    """Check a receipt offline, against the keys in the data directory; nothing else is asked."""
    from redrush.control.data_dir import DataDir
    from redrush.control.keys import load_keys
    from redrush.core.identity.receipts import verify_receipt as verify
    from redrush.core.money.currency import format_amount
    from redrush.core.rush.campaign import grant_id
    from redrush.core.rush.group import place_in_words
    from redrush.core.rush.instants import rfc3339

    found = verify(load_keys(DataDir(data)).receipts, receipt.strip())
    if found is None:
        if as_json:
            _print_json({"ok": False})
        raise RedrushError("the receipt was not signed with a key of this event, or it was changed")
    amount = "" if found.holds is not None else format_amount(found.amount_minor, found.currency)
    statement = {
        "ok": True,
        "grant": grant_id(found.campaign, found.round, found.slot),
        "campaign": found.campaign,
        "round": found.round,
        "slot": found.slot,
        "user": found.user,
        **({"amount": amount, "currency": found.currency} if found.holds is None else {"holds": found.holds}),
        "granted_at": rfc3339(found.at_us),
    }
    if as_json:
        _print_json(statement)
    else:
        _print(
            f"genuine: {found.user} won {found.holds or f'{amount} {found.currency}'} in {place_in_words(found.round)} "
            f"(grant {statement['grant']}, {statement['granted_at']})"
        )


@app.command()
def report(
    data: DataOption,
    out: Annotated[
        Path | None, Option("--out", metavar="DIR", help="Where the pages go; by default the data directory.")
    ] = None,
    language: LanguageOption = "en",
    as_json: JsonOption = False,
) -> None:
    """Report on the event of a data directory, running or over: what went out, and whether all of it is right."""
    from redrush.drill.own_report import show_own_report

    raise SystemExit(show_own_report(data, out or data, language, as_json=as_json))
