"""A process that is a role of the scaled form: its control port, its campaigns, and its end in good order."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import uvloop

from redrush.control.data_dir import DataDir
from redrush.core.sets.address import Address
from redrush.gate.open_files import raise_files_max
from redrush.http.ending import when_told_to_stop
from redrush.http.server import Server
from redrush.wiring.hosted_roles import HostedRoles, MakeHosted
from redrush.wiring.role import Announce, Role, Surroundings, add_probes, ready_unless
from redrush.wiring.steering import ControlPort


def run_role(
    make: Callable[[Surroundings], Role],
    make_hosted: MakeHosted,
    around: Surroundings,
    announce: Announce,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Run a role until it is told to stop, or until it can go on no more, which is raised. `make_hosted` makes that of
    each other campaign. `announce` gets where it answers once it has started. `tls`: what its control port shows; None:
    it speaks plainly."""

    async def main() -> None:
        stopping = asyncio.Event()
        when_told_to_stop(stopping.set)
        role, control = make(around), around.control
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
