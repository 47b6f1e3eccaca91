"""The roles of a deployment: one row each. Read by the deployment file, the commands, `redrush stack`, and the tests of
what is shipped: whoever adds a role adds a row, its class, and a unit and a workload in `deploy/`.
"""

from enum import StrEnum
from typing import Final

import msgspec


class Per(StrEnum):
    """How many processes of a role an event has."""

    MACHINE = "machine"
    """Any number, all alike."""
    SET = "set"
    """One for each set."""
    EVENT = "event"
    """One at a time: the old one has ended before the new one starts."""


class RoleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A role: one command, one table of the deployment file, one kind of child of a stack."""

    name: str
    does: str
    """For the help of the command."""
    made_by: str
    """Module and class, imported when the role is run; called with what is around it, and `set_id` or `address`."""
    per: Per
    control_port: int
    """Where the deployment file says nothing else; workers have the next ones."""
    port: int | None = None
    """Where participants are served; None: nobody is."""
    ends: int
    """In which turn a stack ends it: who serves before who settles, and recorders last, with the rest of the logs."""
    stop_max_s: float = 30.0
    """Longest end in good order: a gate waits up to 10 s for clients to take their answers."""
    is_always: bool = True
    """Whether every event has it, or those only that need it."""
    begun: str = "/readyz"
    """What answers 200 on the control port once the role has begun."""
    shows_tls: bool = False
    """Whether its control port shows the certificate of the deployment file, if that has one."""


ROLES: Final = (
    RoleRow(
        name="gate",
        does="Serve participants over all sets, until SIGTERM. Any number may run, on one machine on one port.",
        made_by="redrush.wiring.gate_role:GateRole",
        per=Per.MACHINE,
        control_port=9110,
        port=8080,
        ends=1,
    ),
    RoleRow(
        name="recorder",
        does="Record the log of one set in the database, until SIGTERM; then what is left of it first.",
        made_by="redrush.wiring.recorder_role:RecorderRole",
        per=Per.SET,
        control_port=9101,
        ends=3,
        stop_max_s=75.0,  # a minute for the rest of the log
    ),
    RoleRow(
        name="settle",
        does="Open pots in time and move what closed rounds have left, until SIGTERM.",
        made_by="redrush.wiring.settle_role:SettleRole",
        per=Per.EVENT,
        control_port=9102,
        ends=2,
    ),
    RoleRow(
        name="control",
        does="Balance the sets while rounds are open, and tell whether the whole can grant, until SIGTERM.",
        made_by="redrush.wiring.control_role:ControlRole",
        per=Per.EVENT,
        control_port=9103,
        ends=2,
        begun="/livez",  # it is ready when the whole is
        shows_tls=True,
    ),
    RoleRow(
        name="query",
        does="Serve participants' grants and the totals from the records, until SIGTERM.",
        made_by="redrush.wiring.query_role:QueryRole",
        per=Per.MACHINE,
        control_port=9104,
        port=8081,
        ends=2,
    ),
    RoleRow(
        name="payments",
        does="Pay winners, take money and give it back, and serve balances, until SIGTERM.",
        made_by="redrush.wiring.payments_role:PaymentsRole",
        per=Per.EVENT,
        control_port=9106,
        port=8082,
        ends=2,
        is_always=False,
    ),
)


def role_named(name: str) -> RoleRow:
    """Return the row. KeyError for a name that no role has."""
    return {row.name: row for row in ROLES}[name]
