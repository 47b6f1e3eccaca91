"""A whole sale over real HTTP: held, paid at a bank, handed to a shop, given back, too late, and killed in between."""

import asyncio
import random
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from redrush.client.buying import Buyer, BuyingRefused
from redrush.control.data_dir import DataDir
from redrush.http.fetch import Unfetched
from redrush.operate.data_dir_reports import reconcile_data_dir
from tests.acceptance.paying.stage import until
from tests.acceptance.selling.audit import audit, units_in
from tests.acceptance.selling.stage import PRICE_MINOR, SaleStage
from tests.patience import PATIENCE_S

TERMS = 'units = 2\nhold = "2s"\nreturn_every = "300ms"\nshop = "bank"\n'


async def test_from_a_hold_to_the_shop_and_back_into_the_sale(tmp_path: Path) -> None:
    async with SaleStage(tmp_path, TERMS) as sale:
        ann, bob, cat = [await sale.grab(user) for user in ("ann", "bob", "cat")]
        assert [told["outcome"] for told in (ann, bob, cat)] == ["granted", "granted", "held_out"]
        assert ann["grant"]["holds"] == "unit"
        grant, other = ann["grant"]["id"], bob["grant"]["id"]

        order = await sale.pay("ann", grant, {"address": "home"})
        assert (order["status"], order["state"], order["amount"]) == (200, "paying", "49.99")
        again = await sale.pay("ann", grant, {"address": "work"})
        assert (again["pay"], again["address"]) == (order["pay"], "work")
        assert (await sale.ask("POST", f"/v1/holds/{grant}/pay", "bob"))[0] == 404, "it is not theirs"
        await sale.pays_at_the_bank(order)
        await sale.ends("ann", grant, "delivered")
        assert "receipt" in (await sale.grab("ann"))["grant"]
        [(shop_id, sold)] = (await sale.shop_has()).items()
        assert (sold["user"], sold["grant"], sold["amount_minor"], sold["address"], sold["taken"]) == (
            "ann", grant, PRICE_MINOR, "work", True,
        )  # fmt: skip
        assert shop_id.startswith(f"{grant}#")
        assert (await sale.ask("DELETE", f"/v1/holds/{grant}", "ann"))[0] == 409
        assert (await sale.ask("PUT", f"/v1/orders/{grant}", "ann", {"address": "x"}))[0] == 409

        assert (await sale.ask("DELETE", f"/v1/holds/{other}", "bob"))[1]["state"] == "returned"
        while (told := await sale.grab("cat"))["outcome"] == "held_out":
            await asyncio.sleep(0.1)
        assert (told["outcome"], told["grant"]["id"]) == ("granted", other)
        order = await sale.pay("cat", other)
        gone = await sale.ends("cat", other, "returned")
        assert gone["why"] == "expired"
        assert (await sale.ask("POST", f"/v1/holds/{other}/pay", "cat"))[0] == 409
        await sale.pays_at_the_bank(order)  # it was closed there, so nothing is paid
        assert (await sale.bank_sums())["payin", "closed"] == (1, PRICE_MINOR)


CROWD = 'units = {units}\nhold = "1s"\nreturn_every = "300ms"\nshop = "bank"\nsecret_url = true\n'


class Crowd:
    """People who come to a sale: half never pay, some pay when it is too late, the others at once."""

    def __init__(self, sale: SaleStage, seed: int) -> None:
        self.sale = sale
        self.lots = random.Random(seed)
        self.told: Counter[str] = Counter()
        self.late: list[dict[str, object]] = []

    async def key(self) -> str:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                _, state = await self.sale.insist("GET", "/v1/rounds/s")
                if "key" in state:
                    return f"/{state['key']}"
                await asyncio.sleep(0.05)

    async def come(self, user: str) -> None:
        """Come once, and do as this one does."""
        told = await self.sale.grab(user, await self.key())
        self.told[told["outcome"]] += 1
        if told["outcome"] != "granted":
            return
        grant, mood = told["grant"]["id"], self.lots.random()
        if mood < 0.4:
            return  # holds it and goes away
        order = await self.sale.pay(user, grant)
        if order["state"] != "paying" or mood < 0.5:
            return  # looks at what to pay, and goes away
        if mood < 0.6:
            await self.sale.insist("DELETE", f"/v1/holds/{grant}", user)
        elif mood < 0.7:
            self.late.append(order)
        else:
            await self.pays(order)

    async def pays(self, order: dict[str, object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    return await self.sale.pays_at_the_bank(order)
                except Unfetched:
                    await asyncio.sleep(0.05)


async def play(root: Path, seed: int, *, units: int, people: int, kills: int) -> dict[str, int]:
    """Play a sale in which server and sandbox are killed; return the counts of what is left, audited."""
    lots = random.Random(seed)
    terms = CROWD.format(units=units)
    async with SaleStage(root, terms, sandbox=("--seed", str(seed))) as sale:
        await sale.bank("PUT", "/faults", FAULTS)
        crowd, waves = Crowd(sale, seed), kills + 1
        for wave in range(waves):
            users = [f"u{number:04}" for number in range(wave, people, waves)]
            coming = asyncio.gather(*(crowd.come(user) for user in users))
            if wave < kills:
                await asyncio.sleep(lots.uniform(0.1, 1.0))
                process = sale.server if wave % 2 == 0 else sale.sandbox
                await process.kill()
                await process.start()
                if process is sale.sandbox:
                    await sale.bank("PUT", "/faults", FAULTS)
            await coming
            for order in crowd.late:  # their holds are over, or nearly
                await crowd.pays(order)
        await sale.bank("PUT", "/faults", dict.fromkeys(FAULTS, 0.0))
        await until(lambda: settled(root), lambda: still_open(root) or under_way(root))
        assert crowd.told["granted"] >= units / 2, crowd.told
        assert await sale.server.stop() == 0, sale.server.said
        assert await sale.sandbox.stop() == 0
    report = await asyncio.to_thread(reconcile_data_dir, DataDir(root / "data"))
    assert report.problems == ()
    assert report.books is not None
    assert report.books.orders >= units / 2
    return audit(root, units, PRICE_MINOR)


FAULTS = {
    "answer_lost": 0.05, "error_after": 0.03, "wrong_signature": 0.02, "notice_never": 0.3, "notice_twice": 0.2,
    "paid_during_close": 0.3, "paid_after_close": 0.7, "shop_refuses": 0.05, "shop_down": 0.1, "shop_answer_lost": 0.1,
}  # fmt: skip


def orders(root: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(root / "data" / "sales.db")
    try:
        return connection.execute("SELECT id, state FROM orders").fetchall()
    finally:
        connection.close()


def still_open(root: Path) -> list[tuple[str, str]]:
    return [one for one in orders(root) if one[1] not in {"returned", "delivered", "refunded"}]


def settled(root: Path) -> bool:
    return not still_open(root) and not units_in(root / "data" / "journal.db").held and not under_way(root)


def under_way(root: Path) -> list[tuple[str, str]]:
    """Return what the bank has not told of yet, and bills of which not all is done and told: money may come late."""
    connection = sqlite3.connect(root / "data" / "payments.db")
    try:
        bills = connection.execute(
            "SELECT source, state FROM bills WHERE next_us IS NOT NULL OR NOT is_told AND kind <> 'payout'"
            " UNION ALL SELECT notice, 'not looked into' FROM inbox WHERE NOT is_seen"
        ).fetchall()
    finally:
        connection.close()
    return notices_to_come(root) + bills


def notices_to_come(root: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(root / "bank.db")
    try:
        return connection.execute("SELECT id, how FROM notices").fetchall()
    finally:
        connection.close()


async def test_units_sold_and_left_are_the_stock_and_no_money_is_without_a_unit(tmp_path: Path) -> None:
    """Half go away, some pay too late, the shop refuses one in twenty, answers get lost, and both sides are killed."""
    counts = await play(tmp_path, 20270206, units=24, people=70, kills=2)
    assert counts["sold"] >= 10
    assert counts["sold"] == counts["paid"] - counts["back"]


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
async def test_so_it_is_whatever_happens_when(seed: int, tmp_path: Path) -> None:
    await play(tmp_path, seed, units=60, people=400, kills=8)


async def test_the_client_finds_the_key_and_buys(tmp_path: Path) -> None:
    terms = 'units = 1\nhold = "5s"\nreturn_every = "300ms"\nsecret_url = true\n'
    async with SaleStage(tmp_path, terms) as sale:
        url = f"http://127.0.0.1:{sale.port}"
        async with Buyer([url], sale.ticket("ann")) as ann, Buyer([url], sale.ticket("bob")) as bob:
            first = await ann.grab("s")
            assert first.grant is not None
            assert (first.grant.holds, first.grant.hold is not None, first.grant.receipt) == ("unit", True, "")
            waiting = asyncio.create_task(bob.grab("s"))
            assert (await ann.give_back(first.grant.id))["state"] == "returned"
            second = await waiting
            assert second.grant is not None
            with pytest.raises(BuyingRefused) as refused:
                await ann.pay(first.grant.id)
            assert refused.value.status == 409
            order = await bob.pay(second.grant.id, "home")
            await sale.pays_at_the_bank(order)
            await sale.ends("bob", second.grant.id, "delivered")
            assert [(one["state"], one["address"]) for one in await bob.orders()] == [("delivered", "home")]
            assert (await ann.grab("s")).outcome == "empty"
