"""The role that serves "my grants" and totals."""

import asyncio
from collections.abc import Awaitable, Iterator
from functools import partial

from redrush.control.code_file import codes_of
from redrush.control.data_dir import DataDir
from redrush.control.keys import Keys, load_keys
from redrush.core.identity.tickets import TicketVerifier
from redrush.core.sets.address import Address
from redrush.core.steering import figures
from redrush.core.steering.figure import Value, readings_of
from redrush.core.steering.figures import Interface
from redrush.core.steering.quantiles import LatelyTook
from redrush.gate.grants import GrantWriter
from redrush.gate.open_files import limits_of
from redrush.gate.rush.packet_grants import PacketGrantWriter
from redrush.http.server import Server
from redrush.http.site import Site
from redrush.query.site import QUERY_MAX_S, Queries
from redrush.wiring.dependencies import dependency_figures
from redrush.wiring.following import Reporting, listen_to_switches
from redrush.wiring.role import Offstage, Parts, Surroundings, ready_unless
from redrush.wiring.set_records import open_records
from redrush.wiring.troubles import Troubles


class QueryRole(Offstage):
    """Serves "my grants" and totals from the records. No claim notices whether it runs."""

    def __init__(self, around: Surroundings, address: Address | None) -> None:
        """`address` None: participants come by the port of another campaign's role."""
        self._around = around
        self._address = address
        self._troubles = Troubles(around.log)
        self._parts = Parts()
        self._queries: Queries | None = None
        self._server = Server([])

    async def start(self, control: Site) -> dict[str, Address]:
        deployment, sealed, now_us = self._around.deployment, self._around.sealed, self._around.clock.now_us
        keys = load_keys(DataDir(deployment.data))
        databases = {spec.records.read(): spec for spec in deployment.sets}
        self._queries = Queries(
            sealed.campaign,
            self._writers(keys),
            TicketVerifier(keys.tickets),
            {f"records of {spec.id}": partial(open_records, spec, QUERY_MAX_S) for spec in databases.values()},
            packets=PacketGrantWriter(sealed.campaign, keys.receipts),
            limits=limits_of(self._around.terms.gate, self._around.log),
            now_us=now_us,
        )
        self.site = self._queries.site
        self._reporting = Reporting(self._around, "query")
        await listen_to_switches(self._around, self._parts, self._troubles, self._queries.apply, self._reporting.apply)
        times = self._queries.site.times
        took = LatelyTook(lambda: {Interface.QUERY: times}, asyncio.get_running_loop().time)
        self._parts.add("readings", self._reporting.run(lambda: readings_of(took())))
        self._parts.add("watch", self._queries.watch())
        if self._address is None:
            return {}
        self.site.elsewhere = self.elsewhere
        port = await self._server.listen(self._queries.site, self._address.host, self._address.port, reuse_port=True)
        return {"query": Address(self._address.host, port)}

    def _writers(self, keys: Keys) -> dict[str, GrantWriter]:
        campaign, amounts = self._around.sealed.campaign, self._around.sealed.amounts
        codes = codes_of(DataDir(self._around.deployment.data), campaign)
        return {pot.id: GrantWriter(campaign, pot, amounts, keys.receipts, codes) for pot in campaign.pots}

    async def amend(self, around: Surroundings) -> bool:
        """Go on as this event: connections stay."""
        self._around = around
        assert self._queries is not None
        self._queries.amend(around.sealed.campaign, self._writers(load_keys(DataDir(around.deployment.data))))
        return True

    def readiness(self) -> bytes:
        assert self._queries is not None
        return ready_unless(self._queries.why_not_ready())

    def readings(self) -> Iterator[Value]:
        assert self._queries is not None
        yield figures.CONNECTIONS(len(self._queries.site.connections))
        yield figures.ANSWER_SECONDS.of(self._queries.site.times, Interface.QUERY)
        yield from self._reporting.readings()
        for dependency in self._queries.dependencies:
            yield from dependency_figures(dependency)
        yield from self._troubles.readings()

    def failed(self) -> Awaitable[None]:
        return self._parts.failed()

    async def stop(self) -> None:
        await self._server.stop()
        await self._parts.cancel()
        if self._queries is not None:
            await self._queries.close()
