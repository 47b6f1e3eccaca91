"""`redrush payout …` and the comparison of bills on a book, as an operator uses them."""

import asyncio
import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from redrush.config import PaymentsFile, ProviderSpec
from redrush.control.data_dir import DataDir
from redrush.core.money.clearing import credited
from redrush.core.sets.address import Address
from redrush.operate.merchants import doubts_of
from redrush.ports.bill_book import Entry, NewBill
from redrush.ports.provider import BillLine, Done, Failed, Terms
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.settle.paying import steps
from redrush.settle.paying.comparing import Kind, compare
from tests.campaigns import a_round
from tests.cli.test_commands import Run, is_one_sentence, run
from tests.cli.test_switch_commands import TEXT
from tests.config.test_limits_table import DEPLOYMENT
from tests.mail_server import Mailbox

__all__ = ["run"]

PRIZES = """\
plays = { per_user = 5 }
[[round.prize]]
id = "red"
name = "Red"
holds = "money"
amount = "1.00"
count = 7
odds = "1/10"
[[round.prize]]
id = "mug"
name = "A mug"
holds = "goods"
count = 20
odds = "1/10"
"""
NOW_US = 1_800_000_000_000_000
TERMS = Terms(currency="CNY")


def payout(source: str, amount_minor: int, user: str) -> NewBill:
    return NewBill(
        kind="payout", source=source, campaign="c", user=user, provider="bank", currency="CNY",
        amount_minor=amount_minor, subject="s", to=user,
    )  # fmt: skip


@pytest.fixture
def numbers(run: Run) -> dict[str, str]:
    """An event with a payout that waits, one that was refused, and one that is paid; their numbers by user."""
    Path("c.toml").write_text(TEXT, encoding="utf-8")
    assert run("seal", "c.toml", "--data", "event").code == 0
    book = SqliteBillBook.open_path(Path("event/payments.db"))
    book.make([payout("g2", 200, "bob"), payout("g3", 300, "carl")], NOW_US)
    taken = {one.user: one for one in book.take("bank", "start", NOW_US, NOW_US * 2, 9)}
    book.change([steps.after(taken["bob"], Failed("no such wallet"), TERMS, NOW_US)])
    book.change([steps.after(taken["carl"], Done(300, NOW_US, "r", "CNY"), TERMS, NOW_US)])
    book.make([payout("g1", 100, "ann")], NOW_US)
    book.post_each("c", [Entry(credited("bob", "sponsor", "g2", 200, NOW_US))])
    found = {one.user: one.number for one in book.listed()}
    book.close()
    return found


def listed(run: Run, *options: str) -> dict[str, str]:
    answer = run("payout", "list", "--data", "event", "--json", *options)
    return {one["user"]: one["state"] for one in json.loads(answer.out)["payouts"]}


def test_payouts_are_listed_by_state_and_user(run: Run, numbers: dict[str, str]) -> None:
    assert listed(run) == {"ann": "new", "bob": "failed", "carl": "done"}
    assert listed(run, "--state", "failed", "--state", "done") == {"bob": "failed", "carl": "done"}
    assert listed(run, "--user", "ann") == {"ann": "new"}
    text = run("payout", "list", "--data", "event").out
    assert f"{numbers['bob']}  failed" in text
    assert "2.00 CNY  bob  no such wallet" in text
    wrong = run("payout", "list", "--data", "event", "--state", "lost")
    assert wrong.code == 2
    assert is_one_sentence(wrong.err)


def test_what_failed_is_paid_again_under_a_new_number_and_what_is_paid_is_not(
    run: Run, numbers: dict[str, str]
) -> None:
    assert run("payout", "retry", "--data", "event", "--failed").code == 0
    assert listed(run)["bob"] == "new"
    again = json.loads(run("payout", "list", "--data", "event", "--json", "--user", "bob").out)["payouts"][0]
    assert again["attempt"] == 2
    assert again["number"] != numbers["bob"]
    refused = run("payout", "retry", "--data", "event", numbers["carl"])
    assert refused.code == 1
    assert "is paid" in refused.err
    assert listed(run)["carl"] == "done"


def test_a_payout_is_held_until_it_is_released(run: Run, numbers: dict[str, str]) -> None:
    assert run("payout", "hold", "--data", "event", numbers["ann"], "--why", "looks strange").code == 0
    assert listed(run)["ann"] == "held"
    late = run("payout", "hold", "--data", "event", numbers["carl"], "--why", "x")
    assert late.code == 1
    assert "only what the provider has not heard of" in late.err
    assert run("payout", "release", "--data", "event", "--all").code == 0
    assert listed(run)["ann"] == "new"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("payout", "retry", "--data", "event"), "say which payouts"),
        (("payout", "retry", "--data", "event", "NOSUCH"), "there is no payout NOSUCH"),
        (("payout", "list", "--data", "elsewhere"), "holds no campaign"),
    ],
)
def test_a_wrong_order_is_told_in_a_sentence(
    run: Run, numbers: dict[str, str], command: tuple[str, ...], says: str
) -> None:
    answer = run(*command)
    assert answer.code == 2
    assert is_one_sentence(answer.err)
    assert says in answer.err


def test_check_asks_the_providers_and_says_how_long_it_takes(run: Run) -> None:
    Path("c.toml").write_text(TEXT + '[payout]\nprovider = "files"\npolicy = "auto"\n', encoding="utf-8")
    Path("p.toml").write_text('[[provider]]\nname = "files"\nkind = "csv"\ndirectory = "out"\n')
    answer = run("check", "c.toml", "--payments", "p.toml")
    assert answer.code == 0, answer.err
    assert "provider files (csv): answers" in answer.out
    assert "payouts: auto, by files; " in answer.out
    Path("q.toml").write_text('[[provider]]\nname = "bank"\nkind = "sandbox"\nurl = "http://127.0.0.1:1"\n')
    wrong = run("check", "c.toml", "--payments", "q.toml")
    assert wrong.code == 2
    assert "has no provider 'files'" in wrong.err
    Path("r.toml").write_text(Path("q.toml").read_text().replace("bank", "files"))
    silent = run("check", "c.toml", "--payments", "r.toml")
    assert silent.code == 1
    assert is_one_sentence(silent.err)
    assert "provider files (sandbox): 127.0.0.1:1" in silent.err


@pytest.mark.parametrize(
    ("table", "needs"),
    [
        ('[[round]]\nid = "s"\nkind = "sale"\nopens = "now"\nlasts = "1h"\nprice = "5.00"\nunits = 1\n', "sale s"),
        ('[payout]\nprovider = "files"\npolicy = "auto"\n', "[payout]"),
        ('[group]\npay = "bank"\n', "packets between people"),
        ("", None),
    ],
)
def test_check_says_what_needs_a_payments_file(run: Run, table: str, needs: str | None) -> None:
    Path("c.toml").write_text(TEXT + table, encoding="utf-8")
    answer = run("check", "c.toml")
    assert answer.code == 0, answer.err
    assert (f"needs --payments FILE, here and where it is served: {needs}\n" in answer.out) is (needs is not None)
    assert json.loads(run("check", "c.toml", "--json").out).get("needs_payments") == (needs and [needs])


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('[[round]]\nid = "s"\nkind = "sale"\nopens = "now"\nlasts = "1h"\nprice = "5.00"\nunits = 1\npay = "files"\n',
         'nobody can pay in s: it has no provider "files" that takes money'),
        ('[group]\npay = "bank"\n', 'packets cannot be paid: it has no provider "bank" that takes money'),
    ],
)  # fmt: skip
def test_check_refuses_a_payments_file_that_has_nobody_for_a_sale_or_for_packets(
    run: Run, table: str, says: str
) -> None:
    Path("c.toml").write_text(TEXT + table, encoding="utf-8")
    Path("p.toml").write_text('[[provider]]\nname = "files"\nkind = "csv"\ndirectory = "out"\n')
    answer = run("check", "c.toml", "--payments", "p.toml")
    assert answer.code == 2
    assert is_one_sentence(answer.err)
    assert f"p.toml: does not fit c: {says}" in answer.err


@pytest.mark.parametrize("command", ["payout", "message"])
def test_of_a_stack_that_does_not_run_the_command_is_named_that_starts_it(run: Run, command: str) -> None:
    directory = DataDir(Path("stack"))
    directory.create()
    directory.campaign.write_text("{}")
    directory.deployment.write_text(DEPLOYMENT.replace("//db/", "//127.0.0.1:1/"))
    answer = run(command, "list", "--data", "stack")
    assert answer.code == 1
    assert is_one_sentence(answer.err)
    assert "`redrush stack up FILE --data stack` starts it" in answer.err


def test_prizes_that_are_no_money_are_no_wins_that_are_paid(run: Run) -> None:
    draw = a_round("r2", kind="draw").replace('total = "1.00"\npackets = 100\n', PRIZES)
    Path("c.toml").write_text(TEXT + draw + '[payout]\nprovider = "files"\npolicy = "auto"\n', encoding="utf-8")
    Path("p.toml").write_text('[[provider]]\nname = "files"\nkind = "csv"\ndirectory = "out"\n')
    answer = run("check", "c.toml", "--payments", "p.toml")
    assert answer.code == 0, answer.err
    assert "; 107 wins take " in answer.out


def test_a_shop_is_reached_and_notices_that_nobody_hears_are_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shop can only be reached: its address answers, whatever it says."""
    monkeypatch.setenv("SHOP_KEY", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    Path("c.toml").write_text(TEXT, encoding="utf-8")
    with shop_that_answers() as url:
        text = f"""[[provider]]
name = "store"
kind = "webhook"
url = "{url}"
secret = {{ env = "SHOP_KEY" }}
"""
        Path("p.toml").write_text(text)
        refused = run("check", "c.toml", "--payments", "p.toml")
        Path("p.toml").write_text(text + "private = true\n")
        reached = run("check", "c.toml", "--payments", "p.toml", "--json")
    assert refused.code == 1
    assert "provider store (webhook): 127.0.0.1 is 127.0.0.1, in a private network" in refused.err
    assert reached.code == 0, reached.err
    [store] = json.loads(reached.out)["payments"]["providers"]
    assert (store["shows"], store["why_not"]) == ("its address answers, its key is one", None)
    wechat = ProviderSpec(name="w", kind="wechat", options={"notify": "https://pay.example/notices/wechat"})
    file = PaymentsFile(path=tmp_path, providers=(wechat,))
    assert "nobody hears it" in doubts_of(file)[0]
    heard = msgspec.structs.replace(file, listen=Address("127.0.0.1", 9105))
    assert "…/notices/w" in doubts_of(heard)[0]
    assert doubts_of(msgspec.structs.replace(heard, providers=(msgspec.structs.replace(wechat, name="wechat"),))) == []


async def test_check_asks_the_notifiers_tells_nobody_and_says_how_long_it_takes(run: Run) -> None:
    draw = a_round("r2", kind="draw").replace('total = "1.00"\npackets = 100\n', PRIZES)
    message = '[[message]]\nby = "mail"\nof = ["money", "goods"]\n'
    Path("c.toml").write_text(TEXT + draw + message, encoding="utf-8")
    box = Mailbox()
    Path("p.toml").write_text(
        f'[[notifier]]\nname = "mail"\nkind = "smtp"\nserver = "127.0.0.1:{await box.start()}"\nsecurity = "none"\n'
        'from = "a@corp.example"\nto = "{user}@corp.example"\nmessages_per_second = 1\n'
    )
    asked = "check", "c.toml", "--payments", "p.toml"
    right = await asyncio.to_thread(run, *asked)
    fields = json.loads((await asyncio.to_thread(run, *asked, "--json")).out)["payments"]
    await box.stop()
    assert right.code == 0, right.err
    assert "  notifier mail (smtp): answers\n  messages about money, goods: by mail; 127 wins take 2.4 min" in right.out
    assert (box.connections, box.mails) == (2, [])
    assert (fields["notifiers"][0]["why_not"], round(fields["messages_last_s"]["mail"])) == (None, 141)
    away = await asyncio.to_thread(run, *asked)
    assert away.code == 1
    assert is_one_sentence(away.err)
    assert "notifier mail (smtp): " in away.err
    assert "refused" in away.err
    Path("c.toml").write_text(TEXT + message.replace("mail", "shop"), encoding="utf-8")
    other = await asyncio.to_thread(run, *asked)
    assert other.code == 2
    assert is_one_sentence(other.err)
    assert "has no notifier 'shop', which a [[message]] of c names" in other.err


def test_a_notifier_that_cannot_be_asked_is_not_said_to_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    Path("c.toml").write_text(TEXT, encoding="utf-8")
    table = '[[notifier]]\nname = "shop"\nkind = "webhook"\nsecret = { env = "SHOP_KEY" }\nprivate = true\n'
    with shop_that_answers() as url:
        Path("p.toml").write_text(f'{table}url = "{url}"\n')
        reached = run("check", "c.toml", "--payments", "p.toml")
    gone = run("check", "c.toml", "--payments", "p.toml")
    assert reached.code == 0, reached.err
    assert "notifier shop (webhook): its address answers, its key is one\n" in reached.out
    assert gone.code == 1
    assert "notifier shop (webhook): 127.0.0.1:" in gone.err


@contextmanager
def shop_that_answers() -> Iterator[str]:
    """Yield the address of what answers at all, whatever it says."""
    with socketserver.TCPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as shop:
        threading.Thread(target=shop.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{shop.server_address[1]}/orders"
        finally:
            shop.shutdown()


def test_every_difference_between_the_books_is_named(run: Run, numbers: dict[str, str]) -> None:
    book = SqliteBillBook.open_path(Path("event/payments.db"))
    ours = book.moved("bank", NOW_US, NOW_US + 1)
    right = BillLine("payout", numbers["carl"], 300, 0, "r", NOW_US)

    def kinds(*lines: BillLine) -> list[str]:
        return [str(one.kind) for one in compare("bank", "2027-01-15", ours, lines, book).differences]

    assert kinds(right) == []
    assert kinds() == [Kind.OURS_ONLY]
    assert kinds(right, right) == [Kind.TWICE]
    assert kinds(BillLine("payout", numbers["carl"], 301, 0, "r", NOW_US)) == [Kind.AMOUNT]
    assert kinds(BillLine("payout", numbers["carl"], 300, 1, "r", NOW_US)) == [Kind.FEE]
    assert kinds(right, BillLine("payout", "STRANGE", 5, 0, "r", NOW_US)) == [Kind.THEIRS_ONLY]
    assert kinds(right, BillLine("payout", numbers["ann"], 100, 0, "r", NOW_US)) == [Kind.NOT_YET_OURS]
    book._connection.execute("UPDATE accounts SET credits_minor = credits_minor + 1 WHERE account = 'clearing:bank'")
    assert kinds(right) == [Kind.LEDGER]
    book.close()
