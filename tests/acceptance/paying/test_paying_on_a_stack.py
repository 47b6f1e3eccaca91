"""Winners of a stack are paid at a sandbox of its own process, and told by mail: role `payments`, with its books in
PostgreSQL."""

import contextlib
import io
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from unittest import mock

import pytest

from redrush.cli.main import main
from redrush.core.money.clearing import credited
from redrush.ports.bill_book import BillState, Entry, NewBill
from redrush.ports.message_book import MessageState
from redrush.ports.provider import Failed, Terms
from redrush.settle.paying import steps
from tests.acceptance.paying.paying_stack import PayingStack, issue, paying_stack, until
from tests.acceptance.stack.running_stack import kill
from tests.commands import redrush
from tests.figures import scraped, with_circumstances, without_circumstances
from tests.mail_server import Mailbox
from tests.mailbox_beside import mailbox_beside, smtp

PACKETS: Final = 30
MESSAGE: Final = '[[message]]\nby = "mail"\n'
BESIDE: Final = """
[campaign]
id = "encore"
name = "encore"
currency = "CNY"
[[round]]
id = "late"
opens = "now"
lasts = "1h"
kind = "equal"
total = "6.00"
packets = 3
[payout]
provider = "bank"
policy = "auto"
[[message]]
by = "mail"
"""
FRIENDS: Final = """
[campaign]
id = "friends"
name = "friends"
currency = "CNY"
[[round]]
id = "far"
opens = 2040-01-01T00:00:00Z
lasts = "1h"
kind = "equal"
total = "3.00"
packets = 3
[group]
pay = "bank"
"""


@pytest.fixture(scope="module")
def mail() -> Iterator[tuple[Mailbox, int]]:
    with mailbox_beside() as beside:
        yield beside


@pytest.fixture(scope="module")
def mailbox(mail: tuple[Mailbox, int]) -> Mailbox:
    return mail[0]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, mail: tuple[Mailbox, int]) -> Iterator[PayingStack]:
    directory = tmp_path_factory.mktemp("paying")
    with paying_stack(
        directory, packets=PACKETS, total="60.00", options=("--sets", 1, "--gates", 1), messages=MESSAGE,
        notifiers=smtp(mail[1]) + smtp(mail[1]).replace('"mail"', '"post"'),
    ) as (stack, _):  # fmt: skip
        yield stack


def _ran(*arguments: object) -> dict[str, Any]:
    """Return what a command prints, which is run in this process."""
    out = io.StringIO()
    argv = ["redrush", *map(str, arguments), "--json"]
    with contextlib.redirect_stdout(out), mock.patch.object(sys, "argv", argv), contextlib.suppress(SystemExit):
        main()
    fields: dict[str, Any] = json.loads(out.getvalue())
    return fields


def test_every_winner_is_paid_what_was_won(stack: PayingStack) -> None:
    won = stack.grab([f"u{number}" for number in range(PACKETS // 2)])
    assert len(won) == PACKETS // 2
    done = (len(won), sum(won.values()))
    until(lambda: stack.bank_sums().get(("payout", "done")) == done, stack.bank_sums)
    user, amount_minor = next(iter(won.items()))
    paid = f"{amount_minor // 100}.{amount_minor % 100:02}"
    until(lambda: stack.get(user, "/v1/balance")["paid"] == paid)
    balance = stack.get(user, "/v1/campaigns/gala/balance")
    assert {name: balance[name] for name in ("campaign", "currency", "available", "waiting", "payout")} == {
        "campaign": "gala", "currency": "CNY", "available": "0.00", "waiting": "0.00", "payout": "auto",
    }  # fmt: skip
    assert balance["recorded_to"] > 0
    assert [(one["state"], one["amount"]) for one in stack.get(user, "/v1/payouts")["payouts"]] == [("paid", paid)]
    with stack.book() as book:
        until(lambda: book.balance("gala", "clearing:bank").net_minor == done[1])
    assert stack.running.get(stack.port, "/v1/balance").status == 401


def test_every_winner_is_told_once_and_what_is_unknown_or_was_lost_when_somebody_says_so(
    stack: PayingStack, mailbox: Mailbox
) -> None:
    reissue = ("reissue", "--deploy", stack.deployment, "--payments", stack.payments)

    def states(user: str) -> list[str]:
        return [str(one.state) for one in book.listed(user=user)]

    with stack.messages() as book:
        stack.grab(["t0"])
        until(lambda: states("t0") == ["sent"])
        until(lambda: not book.listed(states=[MessageState.NEW, MessageState.SENDING]))
        mailbox.faults.append("cut_after_the_dot")
        stack.grab(["t1"])
        until(lambda: states("t1") == ["unknown"])
        stack.forget_message("t0")
        until(lambda: _ran(*reissue)["count"] == 1, lambda: _ran(*reissue))
        delivered = _ran(*reissue, "--yes", "1")
        assert (delivered["messages_missing"], delivered["messages_failed"]) == (1, 0)
        assert delivered["messages_unknown"] >= 1
        until(lambda: states("t0") == ["sent"])
        assert states("t1") == ["unknown"], "sent once more only where a person says so"
        assert _ran("message", "retry", "--unknown", "--user", "t1", "--data", stack.data)["again"] == 1
        until(lambda: states("t1") == ["sent"])
    told = mailbox.receivers()
    assert [told.count(f"{user}@corp.example") for user in ("t0", "t1")] == [2, 2]
    listed = _ran("message", "list", "--deploy", stack.deployment, "--user", "t1")["messages"]
    assert [(one["by"], one["state"], one["tries"]) for one in listed] == [("mail", "sent", 1)]


def test_a_payments_process_that_is_killed_goes_on_and_pays_nobody_twice(stack: PayingStack) -> None:
    before = stack.bank_sums()[("payout", "done")]
    kill(stack.pid("payments"))
    won = stack.grab([f"k{number}" for number in range(5)])
    done = (before[0] + len(won), before[1] + sum(won.values()))
    until(lambda: stack.bank_sums().get(("payout", "done")) == done, stack.bank_sums)


def test_a_paused_settlement_pays_nobody_until_it_goes_on(stack: PayingStack) -> None:
    before = stack.bank_sums()[("payout", "done")]
    _ran("switch", "set", "settlement.paused", "true", "--data", stack.data, "--why", "look first")
    try:
        won = stack.grab(["p1"])
        time.sleep(1.0)  # nothing may happen: nobody can be waited for who does nothing
        assert stack.bank_sums()[("payout", "done")] == before
    finally:
        _ran("switch", "set", "settlement.paused", "false", "--data", stack.data, "--why", "go on")
    done = (before[0] + 1, before[1] + won["p1"])
    until(lambda: stack.bank_sums().get(("payout", "done")) == done, stack.bank_sums)


def test_another_campaign_is_paid_and_told_of_by_the_same_process(
    stack: PayingStack, mailbox: Mailbox, tmp_path: Path
) -> None:
    (tmp_path / "encore.toml").write_text(BESIDE)
    before = stack.bank_sums()[("payout", "done")]
    _ran("campaign", "add", tmp_path / "encore.toml", "--data", stack.data, "--why", "more")
    ticket = issue(stack.data / "campaigns" / "encore", "ann")
    running = stack.running
    until(lambda: running.get(running.port, "/v1/campaigns/encore/rounds/late").status == 200)
    until(lambda: running.get(stack.port, "/v1/campaigns/encore/balance", ticket).status == 200)
    assert stack.running.grab({"ann": ticket}, "late")["ann"]["grant"]["amount"] == "2.00"
    until(lambda: stack.bank_sums().get(("payout", "done")) == (before[0] + 1, before[1] + 200), stack.bank_sums)
    told = stack.running.get(stack.port, "/v1/campaigns/encore/balance", ticket)
    assert json.loads(told.body)["campaign"] == "encore"
    until(lambda: mailbox.receivers().count("ann@corp.example") == 1)
    mine = stack.running.get(stack.port, "/v1/campaigns/gala/balance", ticket)
    assert mine.status == 401, "a ticket of one campaign is none of another"


def test_a_packet_beside_is_open_once_it_is_paid_though_nobody_heard_and_nobody_asks(
    stack: PayingStack, tmp_path: Path
) -> None:
    (tmp_path / "friends.toml").write_text(FRIENDS)
    _ran("campaign", "add", tmp_path / "friends.toml", "--data", stack.data, "--why", "more")
    own, running, packets = stack.data / "campaigns" / "friends", stack.running, "/v1/campaigns/friends/packets"
    ann = issue(own, "ann")
    until(lambda: running.get(stack.port, f"{packets}/terms", ann).status == 200)
    until(lambda: running.get(running.port, "/v1/campaigns/friends/rounds/far").status == 200)
    created = running.ask(stack.port, "POST", packets, ann, total="9.00", count=3, kind="equal").json
    assert created["state"] == "unpaid"
    number = created["pay"]["with"].rpartition("/")[2]
    with running.kept_down(["payments"]):
        until(lambda: not stack.pid("payments"))
        assert running.ask(stack.bank_port, "POST", f"/wallet/pay/{number}").status == 200
    friends = (issue(own, f"friend{number}") for number in itertools.count())  # each asks once, so nobody too often

    def grabbed() -> bool:
        told = running.ask(running.port, "POST", f"{packets}/{created['id']}/grab", next(friends))
        if told.status in {404, 503}:
            return False  # it is not paid, as far as the set knows, or that is not certain yet
        assert (told.outcome, told.json["grant"]["amount"]) == ("granted", "3.00")
        return True

    until(grabbed)
    exported = redrush("export", "grants", "--data", own)
    assert exported.code == 0, exported.err
    assert f"packet:{created['id']}" in exported.out


WORDS: Final = '[message.zh]\ntitle = "{worth}, as amended"\ntext = "{grant}"\n'


def test_what_winners_are_told_is_amended_while_it_runs(stack: PayingStack, mailbox: Mailbox) -> None:
    """Other words, another notifier beside, one less; one that the payments file does not have is refused."""
    file = stack.payments.with_name("gala.toml")
    text = file.read_text().replace(MESSAGE, "")

    def change(tables: str) -> dict[str, Any]:
        file.write_text(text + tables)
        return _ran("campaign", "change", file, "--data", stack.data, "--why", "other words", "--yes")

    def mails(user: str) -> list[str]:
        return [str(mail["Subject"]) for mail in mailbox.mails if mail["To"] == f"{user}@corp.example"]

    def followed() -> int:
        return (stack.data / "logs" / "payments.log").read_text().count("the campaign was amended")

    def stages(by: str) -> set[str]:
        return {str(one.state) for one in book.listed(by=by)}

    began = followed()
    with stack.messages() as book:
        stack.grab(["m0"])
        until(lambda: len(mails("m0")) == 1)
        assert [one["what"] for one in change(MESSAGE + WORDS + MESSAGE.replace("mail", "post"))["changes"]] == [
            'message "mail".texts.zh.title', 'message "mail".texts.zh.text', 'message "post"',
        ]  # fmt: skip
        until(lambda: len(mails("m0")) == 2, lambda: book.listed(by="post"))
        until(lambda: followed() == began + 1)
        stack.grab(["m1"])
        until(lambda: len(mails("m1")) == 2)
        assert sum(subject.endswith(", as amended") for subject in mails("m1")) == 1
        assert [one["what"] for one in change(MESSAGE)["changes"]][-1] == 'message "post"'
        (strange,) = change(MESSAGE + MESSAGE.replace("mail", "nobody"))["changes"]
        assert "has no such [[notifier]]" in strange["refused"]
        until(lambda: followed() == began + 2)
        stack.grab(["m2"])
        until(lambda: len(mails("m2")) == 1)
        until(lambda: stages("mail") <= {"sent", "unknown"})
        assert (stages("post"), stages("nobody")) == ({"sent"}, set())
    told = mailbox.receivers()
    assert [told.count(f"{user}@corp.example") for user in ("m0", "m1", "m2")] == [2, 2, 1]


def test_commands_look_into_the_book_of_a_deployment(stack: PayingStack) -> None:
    with stack.book() as book:
        until(lambda: {bill.state for bill in book.listed()} == {BillState.DONE})
    listed = _ran("payout", "list", "--deploy", stack.deployment)["payouts"]
    assert listed == _ran("payout", "list", "--data", stack.data)["payouts"]
    with stack.book() as book:
        assert {one["number"] for one in listed} == {bill.number for bill in book.listed(kind="payout")}
        moved = Counter(time.strftime("%Y-%m-%d", time.gmtime((bill.done_us or 0) / 1e6)) for bill in book.listed())
    for day, count in moved.items():  # two of them around midnight
        asked = ("--day", day, "--deploy", stack.deployment, "--payments", stack.payments)
        compared = _ran("bills", "compare", *asked)
        assert (compared["differences"], compared["ours"], compared["theirs"]) == ([], count, count)


def test_what_failed_is_tried_again_only_with_what_the_records_say_is_left(
    stack: PayingStack, capsys: pytest.CaptureFixture[str]
) -> None:
    """A payout that a person had held fails, of a winner who was paid everything; then there is something more."""
    now_us = time.time_ns() // 1_000
    with stack.book() as book:
        paid = book.listed(kind="payout", states=[BillState.DONE], limit=1)[0]
        bill = NewBill(
            kind="payout", source=f"{paid.campaign}/{paid.user}/more", campaign=paid.campaign, user=paid.user,
            provider="bank", currency="CNY", amount_minor=5, subject="more", to=paid.user, held=True,
        )  # fmt: skip
        (held,) = book.make([bill], now_us)
        (failed,) = book.change([steps.after(held, Failed("no wallet"), Terms(currency="CNY"), now_us)])
        assert _ran("payout", "retry", failed.number, "--data", stack.data)["payouts"] == []
        assert "the balance has 0.00 CNY now, less than it would pay" in capsys.readouterr().err
        book.post_each(paid.campaign, [Entry(credited(paid.user, "sponsor", "more", 5, now_us))])
        (again,) = _ran("payout", "retry", failed.number, "--data", stack.data)["payouts"]
        assert again["attempt"] == 2

        def state() -> BillState:
            found = book.numbered(failed.number)
            assert found is not None
            return found.state

        until(lambda: state() is BillState.DONE, state)
    told = stack.get(paid.user, "/v1/balance")
    assert (told["available"], told["waiting"]) == ("0.00", "0.00")


def test_check_says_of_a_deployment_who_answers_and_how_long_its_winners_take(stack: PayingStack) -> None:
    checked = _ran("check", stack.deployment)["payments"]
    assert [(one["provider"], one["why_not"]) for one in checked["providers"]] == [("bank", None)]
    assert [(one["notifier"], one["why_not"]) for one in checked["notifiers"]] == [("mail", None), ("post", None)]
    assert checked["payouts_last_s"]["gala"] == pytest.approx(PACKETS / 450)
    assert set(checked["payouts_last_s"]) <= {"gala", "encore"}


def test_it_exports_its_figures_and_no_others(stack: PayingStack) -> None:
    stack.running.get(stack.control_port, "/metrics")
    text = stack.running.get(stack.control_port, "/metrics").body.decode()
    assert without_circumstances("payments") - scraped(text) == set()
    assert scraped(text) - with_circumstances("payments") == set()
    assert 'redrush_bills_total{provider="bank",what="done"}' in text
