"""Winners of a real server are paid at a sandbox of its own process."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from redrush.ports.bill_book import BillState
from redrush.records.sqlite.bills import SqliteBillBook
from tests.acceptance.paying.stage import Stage, until
from tests.commands import run_command


def minor(text: str) -> int:
    return int(Decimal(text) * 100)


def test_every_winner_is_paid_what_was_won(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path, packets=40, total="80.00") as stage:
            answers = await asyncio.gather(*(stage.grab_until_told(f"u{number}") for number in range(60)))
            won = {
                f"u{number}": minor(fields["grant"]["amount"])
                for number, fields in enumerate(answers)
                if fields["outcome"] == "granted"
            }
            assert len(won) == 40
            assert sum(won.values()) == 8_000

            async def all_paid() -> bool:
                return (await stage.bank_sums()).get(("payout", "done")) == (40, 8_000)

            await until(all_paid)
            winner = next(iter(won))

            async def told() -> bool:
                status, balance = await stage.ask(winner, "GET", "/v1/balance")
                assert status == 200
                assert set(balance) == {
                    "campaign", "currency", "available", "waiting", "paid", "recorded_to", "payout",
                }  # fmt: skip
                return (balance["available"], minor(balance["paid"])) == ("0.00", won[winner])

            await until(told)
            status, listed = await stage.ask(winner, "GET", "/v1/payouts")
            assert status == 200
            assert [(one["state"], minor(one["amount"])) for one in listed["payouts"]] == [("paid", won[winner])]
            loser = next(f"u{number}" for number in range(60) if f"u{number}" not in won)
            _, nothing = await stage.ask(loser, "GET", "/v1/balance")
            assert (nothing["available"], nothing["paid"]) == ("0.00", "0.00")
            await until(lambda: len(stage.bills(BillState.DONE)) == 40)
            assert await stage.server.stop() == 0
        book = SqliteBillBook.open_path(stage.data / "payments.db")
        assert book.balance("gala", "clearing:bank").net_minor == 8_000
        assert {bill.user: bill.amount_minor for bill in book.listed(states=[BillState.DONE])} == won
        book.close()

    asyncio.run(story())


def test_a_winner_who_asks_is_paid_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path, payout='policy = "winner"', packets=1, total="10.00") as stage:
            assert (await stage.grab_until_told("ann"))["outcome"] == "granted"

            async def ask(fields: object | None = None) -> tuple[int, dict[str, Any]]:
                return await stage.ask("ann", "POST", "/v1/payouts", fields)

            async def credited() -> bool:
                return bool((await stage.ask("ann", "GET", "/v1/balance"))[1]["available"] == "10.00")

            await until(credited)
            wrong: list[object] = [{"amount": "1.001"}, {"amount": 1}, {"key": ""}, {"x": 1}, {"key": "#1"}]
            for number, fields in enumerate(wrong):
                assert (await stage.ask(f"w{number}", "POST", "/v1/payouts", fields))[0] == 400, fields
            status, part = await ask({"amount": "4.00", "key": "first"})
            assert (status, part["amount"]) == (200, "4.00")
            again = await ask({"amount": "4.00", "key": "first"})
            assert (again[0], again[1]["payout"]) == (200, part["payout"])
            assert (await ask({"amount": "5.00", "key": "first"}))[0] == 409
            status, refused = await ask({"amount": "6.01"})
            assert (status, refused["available"]) == (409, "6.00")
            at_once = await asyncio.gather(*(ask() for _ in range(5)))
            assert {answer["payout"] for status, answer in at_once if status < 400} != set()

            async def paid() -> bool:
                return (await stage.bank_sums()).get(("payout", "done")) == (2, 1_000)

            await until(paid)
            assert (await ask())[0] == 409
            told = {status for operation, status in stage.seen if operation == ("POST", "/v1/payouts")}
            assert told >= {200, 400, 409}

    asyncio.run(story())


def test_finance_pays_what_is_left_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path, payout='policy = "winner"', packets=3, total="9.00") as stage:
            for user in ("ann", "bob", "carl"):
                assert (await stage.grab_until_told(user))["outcome"] == "granted"
            order = ("payout", "make", "--json", "--data", str(stage.data), "--payments", str(stage.payments))

            async def give(*options: str) -> dict[str, Any]:
                code, out, err = await run_command(*order, *options)
                assert code == 0, err
                answer: dict[str, Any] = json.loads(out)
                return answer

            preview = await give()
            assert (preview["planned"], preview["total"], preview["made"]) == (3, "9.00", 0)
            assert not stage.bills()
            for other, refused in ((("--yes", "2"), 1), (("--yes", "3", "--sum", "9.01"), 1), (("--sum", "9.00"), 2)):
                code, _, err = await run_command(*order, *other)
                assert (code, len(err.splitlines())) == (refused, 1), err
            assert not stage.bills(), "what nobody has seen is not paid"
            assert (await give("--yes", "1", "--user", "ann"))["made"] == 1
            rest = await give()
            assert (await give("--yes", "2", "--sum", rest["total"]))["made"] == 2
            code, _, err = await run_command(*order, "--yes", "2")
            assert (code, "there are 0 payouts to be made by now, not 2" in err) == (1, True), err
            assert (await give())["planned"] == 0
            await until(lambda: len(stage.bills(BillState.DONE)) == 3)
            assert await stage.bank_sums() == {("payout", "done"): (3, 900)}

    asyncio.run(story())


def test_a_book_that_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path, packets=1, total="1.00") as stage:
            await stage.server.stop()
            for path in stage.data.glob("payments.db*"):
                path.unlink()
            code, _, err = await run_command(*stage.server.arguments)
            assert code == 2
            assert "payments.db: is gone, and people were paid from here" in err
            (stage.data / "payments.mark").unlink()
            await stage.server.start()

    asyncio.run(story())
