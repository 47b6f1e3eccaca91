"""A process that is a role of the scaled form: its control port, its campaigns, and its end in good order."""

import asyncio
import ssl
from collections.abc import Callable
from importlib import import_module
from typing import Any

import uvloop

from redrush.config import DeploymentFile
from redrush.config.hosted import part_of_set
from redrush.control.campaigns import Listing
from redrush.control.data_dir import DataDir
from redrush.core.roles import Per, RoleRow
from redrush.core.sets.address import Address
from redrush.gate.open_files import raise_files_max
from redrush.http.ending import when_told_to_stop
from redrush.http.server import Server
from redrush.wiring.amended_role import AmendedRole
from redrush.wiring.clock import system_clock
from redrush.wiring.control_tls import shown_by
from redrush.wiring.hosted_roles import HostedRoles, MakeHosted
from redrush.wiring.role import Announce, Role, Shared, Surroundings, add_probes, ready_unless, surroundings
from redrush.wiring.steering import ControlPort


def run(row: RoleRow, deployment: DeploymentFile, control: Address, announce: Announce, **own: object) -> None:
    """Run a role of the deployment until it is told to end. `own` is what its class takes besides what is around it."""
    module, _, name = row.made_by.partition(":")
    made_by: Callable[..., Role] = getattr(import_module(module), name)
    first: Role | None = None

    def hosted(around: Surroundings, listing: Listing) -> Role | None:
        if row.per is Per.SET:
            set_id = str(own["set_id"])
            return made_by(around, set_id=part_of_set(set_id, listing.id)) if set_id in listing.sets else None
        return first.for_campaign(around) if isinstance(first, Shared) else made_by(around, **dict.fromkeys(own))

    def make(around: Surroundings) -> Role:
        nonlocal first
        first = made_by(around, **own)
        return first

    shown = shown_by(deployment) if row.shows_tls else None
    run_role(
        make,
        hosted,
        surroundings(deployment, control, system_clock()),
        announce,
        None if shown is None else shown.context(),
    )


def run_role(
    make: Callable[[Surroundings], Role],
    make_hosted: MakeHosted,
    around: Surroundings,
    announce: Announce,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Run a role until it is told to stop, or until it can go on no more, which is raised. `make_hosted` makes that of
    each other campaign; all follow what is amended. `announce` gets where it answers once it has started. `tls`: what
    its control port shows; None: it speaks plainly."""

    async def main() -> None:
        stopping = asyncio.Event()
        when_told_to_stop(stopping.set)
        role, control = AmendedRole(around, make(around), make), around.control
        hosted = HostedRoles(around, role, make_hosted)

        def readiness() -> bytes:
            return ready_unless("is stopping") if stopping.is_set() else role.readiness()

        server = Server([])
        ends: list[asyncio.Future[Any]] = [asyncio.ensure_future(stopping.wait())]
        try:
            raise_files_max()
            whole = around.deployment.control
            names = (control.host, whole.found_at.host, *whole.names)
            used = DataDir(whole.notes).operators_used
            control_port = ControlPort(around.data_dir, around.clock.now_us, names, tls, used)
            addresses = await role.start(control_port.site)
            await hosted.begin(control_port.site)
            add_probes(control_port.site, readiness, [role.readings, hosted.readings, control_port.readings])
            port = await control_port.listen(server, control.host, control.port)
            announce({**addresses, "control": Address(control.host, port)})
            ends += [asyncio.ensure_future(role.failed()), asyncio.ensure_future(hosted.run())]
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in done:
                end.result()
        finally:
            for end in ends:
                end.cancel()
            await role.stop()
            await hosted.stop()
            await server.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
