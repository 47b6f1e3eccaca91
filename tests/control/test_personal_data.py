"""Addresses are encrypted where they are kept, under a key of the event's, and erased by order."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from redrush import extras
from redrush.cli.main import main
from redrush.control.data_dir import DataDir
from redrush.control.keys import KEY_BYTES, check_known_keys, key_digests, load_keys, load_or_create_keys
from redrush.control.personal_data import PREFIX, PersonalData
from redrush.core.rush.sale_order import NEVER_US, SaleOrder, State
from redrush.errors import ConfigError, RedrushError
from redrush.operate.erasing import erase
from redrush.operate.paying import Books, book_of
from redrush.ports.bill_book import NewBill
from redrush.ports.veil import NoVeil
from redrush.records.postgres.sales import PostgresSaleBook
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.records.sqlite.sales import SqliteSaleBook
from redrush.settle.selling.private_book import PrivateSaleBook
from tests.conftest import Databases
from tests.operate.test_refunding import DEPLOYMENT, an_event
from tests.raw_files import bytes_in

HOME = "上海市黄浦区南京东路一号"


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    found = DataDir(tmp_path / "event")
    found.create()
    load_or_create_keys(found)
    found.campaign.write_text("{}")
    return found


def order(slot: int, user: str = "ann", state: State = State.DELIVERED, address: str | None = HOME) -> SaleOrder:
    return SaleOrder(
        id=f"o{slot}", grant=f"g{slot}", pot="sale", user=user, slot=slot, number=1, request="", until_us=1,
        price_minor=100, state=state, due_us=NEVER_US, since_us=1_000, address=address,
    )  # fmt: skip


@contextmanager
def private(data_dir: DataDir) -> Iterator[PrivateSaleBook]:
    with closing(PrivateSaleBook(SqliteSaleBook.open_path(data_dir.sales), PersonalData(data_dir))) as book:
        yield book


def of_a_release_before(data_dir: DataDir) -> None:
    """Leave keys as they were drawn before there was one of addresses."""
    keys = json.loads(data_dir.keys.read_bytes())
    del keys["personal"]
    data_dir.keys.write_text(json.dumps(keys))


def in_the_books(data_dir: DataDir) -> bytes:
    return bytes_in(*data_dir.root.glob("sales.db*"), *data_dir.root.glob("payments.db*"))


def test_what_is_hidden_is_read_by_the_key_alone_and_never_alike(data_dir: DataDir) -> None:
    veil = PersonalData(data_dir)
    one, other = veil.hide(HOME), veil.hide(HOME)
    assert one != other
    assert one.startswith(PREFIX)
    assert HOME not in one
    assert PersonalData(data_dir).show(one) == HOME
    assert (veil.hide(one), veil.hide(""), veil.show("u-17")) == (one, "", "u-17")
    assert len(load_keys(data_dir).personal or b"") == KEY_BYTES
    assert data_dir.keys.stat().st_mode & 0o777 == 0o600


def test_the_key_is_drawn_with_the_others_so_that_who_hides_need_not_write(data_dir: DataDir) -> None:
    drawn = data_dir.keys.read_bytes()
    hidden = PersonalData(data_dir).hide(HOME)
    assert data_dir.keys.read_bytes() == drawn
    assert PersonalData(data_dir).show(hidden) == HOME


def test_a_key_of_addresses_that_is_another_one_or_gone_is_noticed_at_the_start(data_dir: DataDir) -> None:
    drawn = data_dir.keys.read_bytes()
    of_a_release_before(data_dir)
    before = key_digests(load_keys(data_dir))
    PersonalData(data_dir).hide("a key is made")
    check_known_keys(data_dir, before, load_keys(data_dir))
    known = key_digests(load_keys(data_dir))
    check_known_keys(data_dir, known, load_keys(data_dir))
    data_dir.keys.write_bytes(drawn)
    with pytest.raises(ConfigError, match=r"the key of addresses is another one, .*from a backup that has it"):
        check_known_keys(data_dir, known, load_keys(data_dir))
    of_a_release_before(data_dir)
    with pytest.raises(ConfigError, match=r"the key of addresses is gone, .*from a backup that has it"):
        check_known_keys(data_dir, known, load_keys(data_dir))


def test_a_key_that_is_gone_or_another_is_said_with_the_command_that_helps(data_dir: DataDir) -> None:
    of_a_release_before(data_dir)
    before = data_dir.keys.read_bytes()
    hidden = PersonalData(data_dir).hide(HOME)
    data_dir.keys.write_bytes(before)
    with pytest.raises(ConfigError, match=r"has no key of personal data; `redrush restore .* --only keys\.json`"):
        PersonalData(data_dir).show(hidden)
    PersonalData(data_dir).hide("another key is made")
    with pytest.raises(ConfigError, match=r"cannot be decrypted: .*only keys\.json"):
        PersonalData(data_dir).show(hidden)


def test_without_the_library_no_address_is_taken_and_the_sentence_names_the_extra(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(extras.EXTRAS, "payments", ("no_such_module",))
    with private(data_dir) as book:
        assert book.keep([order(1, address=None)])[0] is not None
        with pytest.raises(extras.ExtraMissing, match='needs the extra "payments"'):
            book.keep([order(2)])
        assert [one.id for one in book.all()] == ["o1"]


def test_a_book_with_addresses_is_not_gone_on_with_where_nobody_can_hide_or_read_them(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is due is read with its address, so nothing of such a sale would be settled."""
    with closing(SqliteSaleBook.open_path(data_dir.sales)) as plain:
        plain.keep([order(1)])
    with private(data_dir) as book, monkeypatch.context() as lacking:
        lacking.setitem(extras.EXTRAS, "payments", ("no_such_module",))
        with pytest.raises(extras.ExtraMissing, match='needs the extra "payments"'):
            book.hide_old()
    with private(data_dir) as book:
        assert book.hide_old() == 1
        monkeypatch.setitem(extras.EXTRAS, "payments", ("no_such_module",))
        with pytest.raises(extras.ExtraMissing, match='needs the extra "payments"'):
            book.hide_old()


def test_no_address_stands_in_the_books_also_not_one_of_a_release_before(data_dir: DataDir) -> None:
    with closing(SqliteSaleBook.open_path(data_dir.sales)) as book:
        book.keep([order(1)])
        assert HOME.encode() in in_the_books(data_dir)
    with private(data_dir) as book:
        assert (book.hide_old(), book.hide_old()) == (1, 0)
        [kept] = book.keep([order(2)])
        assert kept is not None
        assert kept.address == HOME
        assert {one.address for one in book.of_user("ann")} == {HOME}
    with closing(SqliteSaleBook.open_path(data_dir.sales)) as book:
        assert all((one.address or "").startswith(PREFIX) for one in book.all())


def test_erasing_takes_what_is_settled_and_leaves_what_is_needed_and_a_line(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with private(data_dir) as book:
        book.keep([order(1), order(2, state=State.SOLD), order(3, user="bob")])
    with closing(SqliteBillBook.open_path(data_dir.payments)) as bills:
        bills.make(
            [NewBill(kind="payin", source="s", campaign="c", user="ann", provider="b", currency="CNY", amount_minor=5,
                     subject="s", to=PersonalData(data_dir).hide("openid-7"))], 10,
        )  # fmt: skip
    command = ["redrush", "erase", "--data", str(data_dir.root), "--user", "ann", "--why", "asked by letter", "--json"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["orders"], told["bills"], told["still_needed"]) == (1, 0, 1), "that bill is not final"
    assert (told["bills_still_needed"], told["elsewhere"]) == (1, [])
    with private(data_dir) as book:
        assert {one.id: one.address for one in book.all()} == {"o1": None, "o2": HOME, "o3": HOME}
    (line,) = data_dir.erasures.read_text().splitlines()
    said = json.loads(line)
    assert (said["user"], said["why"], said["orders"]) == ("ann", "asked by letter", 1)
    assert data_dir.erasures.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("whose", [[], ["--user", "ann", "--older-than", "9d"], ["--older-than", "soon"]])
def test_an_order_that_says_not_whose_erases_nothing(
    data_dir: DataDir, whose: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["redrush", "erase", "--data", str(data_dir.root), "--why", "w", *whose])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not data_dir.erasures.exists()


def test_of_a_user_that_the_books_do_not_know_nothing_is_written_down(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with private(data_dir) as book:
        book.keep([order(1)])
    with closing(SqliteBillBook.open_path(data_dir.payments)) as bills:
        bills.make(
            [NewBill(kind="payin", source="s", campaign="c", user="eve", provider="b", currency="CNY", amount_minor=5,
                     subject="s", to="eve")], 10,
        )  # fmt: skip
    for user, code, lines in (("Ann", 1, 0), ("ann", 0, 1), ("ann", 0, 2), ("eve", 0, 3), ("nobody", 1, 3)):
        command = ["redrush", "erase", "--data", str(data_dir.root), "--user", user, "--why", "asked by letter"]
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code, user
        told = capsys.readouterr()
        if code:
            assert f'no order and no bill is of "{user}"' in told.err
            assert told.out == ""
        written = data_dir.erasures.read_text().splitlines() if data_dir.erasures.exists() else []
        assert len(written) == lines, user


def test_orders_of_campaigns_besides_are_named_for_they_are_erased_in_directories_of_their_own(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spring, quiet = (DataDir(data_dir.campaigns / name) for name in ("spring", "quiet"))
    for one, user in ((spring, "ann"), (quiet, "bob")):
        one.create()
        with closing(SqliteSaleBook.open_path(one.sales)) as hosted:
            hosted.keep([order(1, user=user)])

    def erase(*whose: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["redrush", "erase", "--data", str(data_dir.root), "--why", "letter", *whose])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out + told.err

    code, told = erase("--user", "ann")
    assert (code, data_dir.erasures.exists()) == (1, False)
    assert (str(spring.root) in told, str(quiet.root) in told) == (True, False)
    with private(data_dir) as book:
        book.keep([order(1)])
    code, told = erase("--user", "ann")
    assert (code, told.splitlines()[0]) == (0, "erased: addresses of 1 orders and 0 bills")
    assert (str(spring.root) in told, str(quiet.root) in told) == (True, False)
    code, told = erase("--older-than", "180d")
    assert (code, str(spring.root) in told, str(quiet.root) in told) == (0, True, True)
    with closing(SqliteSaleBook.open_path(spring.sales)) as hosted:
        assert [one.address for one in hosted.all()] == [HOME], "nothing was erased there"


def test_what_ended_long_ago_is_erased_of_everybody(data_dir: DataDir) -> None:
    with private(data_dir) as book:
        book.keep([order(1), order(3, user="bob")])
        assert book.forget(1_000) == (0, 0)
        assert book.forget(1_001) == (2, 0)
        assert NoVeil().show(NoVeil().hide("x")) == "x"


def test_of_a_deployment_all_campaigns_and_bills_are_erased_in_its_database(
    data_dir: DataDir, databases: Databases
) -> None:
    dsn = databases.fresh()
    (data_dir.root / "records.dsn").write_text(dsn)
    data_dir.deployment.write_text(DEPLOYMENT)
    data_dir.campaign.unlink()
    for directory, id_ in ((data_dir.root, "c"), (data_dir.campaigns / "spring", "spring")):
        an_event(directory, id_)
        with closing(PostgresSaleBook(dsn, id_)) as book:
            book.keep([order(1, address="p1:x"), order(2, state=State.SOLD, address="p1:x"), order(3, user="bob")])
    books = Books.at(data_dir.root, None)
    with book_of(books) as bills:
        bills.make(
            [NewBill(kind="payin", source="s", campaign="c", user="ann", provider="b", currency="CNY", amount_minor=5,
                     subject="s", to="p1:x")], 10,
        )  # fmt: skip
    with pytest.raises(RedrushError, match='no order and no bill is of "nobody"'):
        erase(books, "nobody", 10**9, who="w", why="y", now_us=10**9)
    erased = erase(books, "ann", 10**9, who="w", why="y", now_us=10**9)
    assert (erased.orders, erased.still_needed, erased.bills, erased.bills_still_needed) == (2, 2, 0, 1)
    for id_ in ("c", "spring"):
        with closing(PostgresSaleBook(dsn, id_)) as book:
            assert {one.id: one.address for one in book.all()} == {"o1": None, "o2": "p1:x", "o3": HOME}
    assert len(data_dir.erasures.read_text().splitlines()) == 1
