"""The role that balances the sets, watches over their servers, and has the switchboard of a stack."""

import asyncio
from collections.abc import Awaitable, Iterator
from functools import partial

from redrush.config.deployment_file import Duty
from redrush.control.data_dir import DataDir
from redrush.control.overview import Lack, Overview
from redrush.control.release_api import ReleaseApi
from redrush.control.sale_keys import SaleKeys
from redrush.control.stock_api import StockApi
from redrush.core.nobody import ignore
from redrush.core.sets.address import Address
from redrush.core.steering import figures
from redrush.core.steering.figure import Value, readings_of
from redrush.core.steering.figures import Interface
from redrush.core.steering.quantiles import LatelyTook
from redrush.core.steering.switches import Snapshot
from redrush.http.ask import is_ok
from redrush.http.site import Site
from redrush.settle.rebalance import Rebalancer
from redrush.stores.valkey import ValkeyStore
from redrush.watch.clocks import ClockWatch
from redrush.wiring.control_tls import shown_by
from redrush.wiring.lines import LinesOfAll
from redrush.wiring.role import Offstage, Parts, Surroundings, ready_unless
from redrush.wiring.sale_keys import DrawnKeys, locked_rounds
from redrush.wiring.set_stores import close_all, open_stores, times_of
from redrush.wiring.steering import Steering, operation_failed
from redrush.wiring.troubles import Troubles
from redrush.wiring.wardens import Wardens


class ControlRole(Offstage):
    """Keeps slots where people ask, and knows whether the whole can grant."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._troubles = Troubles(around.log)
        self._parts = Parts()
        self._stores: dict[str, ValkeyStore] = {}
        self._overview: Overview | None = None
        self._operating: Steering | None = None
        self._wardens: Wardens | None = None

    async def start(self, control: Site) -> dict[str, Address]:
        around, campaign = self._around, self._around.sealed.campaign
        # What is sealed may be read-only, so the board is where this role notes other things too.
        board_dir = DataDir(around.deployment.control.notes)
        board_dir.create()
        self._operating = Steering.open(
            board_dir, around.terms.plans, campaign, around.clock.now_us, operation_failed(around.log)
        )
        self._stores = await open_stores(around.deployment, campaign.id, Duty.WARDEN)
        self._wardens = Wardens(around, self._stores, around.log.warning)
        of_sets = self._wardens.operations(self._operating.board, self._lack).operations()
        lines = LinesOfAll(around, self._operating, board_dir, self._troubles.listener("the lines"))
        stock = StockApi(lambda: campaign, lambda: self._stores, around.sets_of, lines.find, self._snapshot)
        keys = DrawnKeys(
            SaleKeys(board_dir.sale_keys),
            lambda: campaign,
            around.clock.now_us,
            self._troubles.listener("keys of sales"),
        )
        others = (stock, lines, keys, ReleaseApi(self._snapshot, around.clock.now_us))
        self._operating.serve_on(control, [*of_sets, *(it for one in others for it in one.operations())])
        self._operating.announce(
            around.control.host,
            around.control.port or None,
            shown_by(around.deployment),
            around.deployment.control.prefix,
        )
        self._rebalancer = Rebalancer(
            self._stores,
            campaign,
            around.clock,
            sets_of=around.sets_of,
            lines=self._stores,
            on_fault=self._troubles.listener("rebalancing"),
        )
        self._overview = Overview(
            self._stores,
            campaign,
            around.clock,
            sets_of=around.sets_of,
            warm_up_us=around.deployment.warm_up_us,
            gates={
                str(gate): partial(is_ok, gate.host, gate.port, "/livez") for gate in around.deployment.control.gates
            },
            told=self._told,
            hint=self._wardens.hint,
        )
        self._clocks = ClockWatch("this control role", around.clock, times_of(self._stores), around.log)
        self._operating.board.follow(self._clocks.apply)
        self._parts.add("clock watch", self._clocks.run())
        await lines.start(self._parts)
        if locked_rounds(campaign):
            self._parts.add("keys of sales", keys.run(ignore))
        self._wardens.run(self._parts)
        self._parts.add("rebalancer", self._rebalancer.run())
        self._parts.add("overview", self._overview.run())
        took = LatelyTook(lambda: {Interface.CONTROL: control.times}, asyncio.get_running_loop().time)
        self._operating.run_rules(lambda: readings_of(took()), self._troubles.listener("rules"))
        return {}

    def _snapshot(self) -> Snapshot:
        assert self._operating is not None
        return self._operating.board.snapshot

    def _lack(self, set_id: str) -> Lack | None:
        return None if self._overview is None else self._overview.sets[set_id]

    def _told(self, set_id: str, lack: Lack | None) -> None:
        log = self._around.log
        if lack is None:
            log.info("a set can grant", set=set_id)
        else:
            log.warning("a set cannot grant", set=set_id, reason=lack.reason, why=lack.why)

    def readiness(self) -> bytes:
        assert self._overview is not None
        clocks = [f"{name}: {why}" for name, why in self._clocks.deviating().items()]
        doubts = [] if self._clocks.doubt is None else [self._clocks.doubt]
        why = "; ".join([*doubts, *clocks, *filter(None, [self._overview.lacking])])
        return ready_unless(why or None, sets=self._overview.states())

    def readings(self) -> Iterator[Value]:
        assert self._overview is not None
        assert self._wardens is not None
        for set_id in self._stores:
            lack = self._overview.sets[set_id]
            yield figures.SET_READY(lack is None, set_id)
            if lack is not None:
                yield figures.SET_ABSENCE(1, set_id, lack.reason)
        yield from self._clocks.readings()
        yield from self._wardens.readings()
        yield from self._troubles.readings()

    def failed(self) -> Awaitable[None]:
        return self._parts.failed()

    async def stop(self) -> None:
        if self._operating is not None:
            await self._operating.stop()
        await self._parts.cancel()
        if self._wardens is not None:
            self._wardens.close()
        await close_all(self._stores)
