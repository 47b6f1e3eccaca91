"""Notifiers against real servers on loopback: what is certain, what is unknown, and what arrives."""

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from redrush.errors import ConfigError
from redrush.http.small_server import Asked, Reply, SmallServer
from redrush.http.sockets import Reserved
from redrush.named_file import read_named
from redrush.ports.notifier import Contact, Message
from redrush.ports.provider import Accepted, Rejected, Terms, Unknown
from redrush.providers import signing
from redrush.providers.contacts import ContactFile, by_pattern
from redrush.providers.notifiers.smtp import Account, SmtpNotifier
from redrush.providers.notifiers.webhook import WebhookNotifier
from redrush.providers.webhook import WebhookOrders
from tests.mail_server import Fault, Mailbox

NOW_US = 1_800_000_000_000_000
TERMS = Terms(currency="", at_once_max=2, deadline_s=2.0)
SECRET = signing.secret_of(b"k" * 32)
MESSAGE = Message(
    number="0NUMBER0", user="ann", to="ann@corp.example", language="zh", title="恭喜，你抢到了 8.88 CNY",
    text="第一行\n.第二行以点开头\n", at_us=NOW_US, fields={"grant": "c-r1-0", "amount": "8.88", "code": None},
)  # fmt: skip


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@asynccontextmanager
async def mail_to(box: Mailbox, terms: Terms = TERMS) -> AsyncIterator[SmtpNotifier]:
    port = await box.start()
    account = Account(host="127.0.0.1", port=port, sender="红包 <noreply@corp.example>", security="none")
    mail = SmtpNotifier(account, terms, lambda: NOW_US)
    try:
        yield mail
    finally:
        mail.close()
        await box.stop()


async def test_a_mail_arrives_whole_under_the_messages_number(mailbox: Mailbox) -> None:
    async with mail_to(mailbox) as mail:
        assert await mail.prove() is None
        assert isinstance(await mail.send(MESSAGE), Accepted)
        assert isinstance(await mail.send(msgspec.structs.replace(MESSAGE, to="bob@corp.example")), Accepted)
        first, _ = mailbox.mails
        assert (first["Subject"], first["To"], first["Message-ID"]) == (
            MESSAGE.title,
            "ann@corp.example",
            "<0NUMBER0@corp.example>",
        )
        assert first["From"] == "红包 <noreply@corp.example>"
        assert (first["Content-Language"], first["Auto-Submitted"]) == ("zh", "auto-generated")
        assert first.get_content().replace("\r\n", "\n").rstrip("\n") == MESSAGE.text.rstrip("\n")
        assert mailbox.connections == 1, "a connection is kept for the next mail"


@pytest.mark.parametrize(
    ("fault", "kind", "final", "arrived"),
    [
        ("refuses", Rejected, True, 0),
        ("not_now", Rejected, False, 0),
        ("no_sender", Rejected, False, 0),
        ("cut_before_the_dot", Unknown, None, 0),
        ("cut_after_the_dot", Unknown, None, 1),
        ("hangs_after_the_dot", Unknown, None, 1),
    ],
)
async def test_only_what_happens_at_the_dot_is_unknown(
    mailbox: Mailbox, fault: Fault, kind: type, final: bool | None, arrived: int
) -> None:
    async with mail_to(mailbox, msgspec.structs.replace(TERMS, deadline_s=0.3)) as mail:
        mailbox.faults.append(fault)
        told = await mail.send(MESSAGE)
        assert isinstance(told, kind), told
        assert getattr(told, "final", None) is final
        assert len(mailbox.mails) == arrived
        assert isinstance(await mail.send(MESSAGE), Accepted), "and the next one goes through"


async def test_a_server_that_is_away_has_certainly_told_nobody_and_prove_says_why(mailbox: Mailbox) -> None:
    async with mail_to(mailbox) as mail:
        await mailbox.stop()
        told = await mail.send(MESSAGE)
        assert isinstance(told, Rejected)
        assert told.final is False
        assert "refused" in str(await mail.prove())


@pytest.mark.parametrize("address", ["", "ann", "ann@a\r\nBcc: all@corp.example", "a@b,c@d", "张三@corp.example"])
async def test_what_is_no_mail_address_is_refused_and_puts_nothing_into_a_header(
    mailbox: Mailbox, address: str
) -> None:
    async with mail_to(mailbox) as mail:
        told = await mail.send(msgspec.structs.replace(MESSAGE, to=address))
        assert told == Rejected("the contact is no mail address", final=True)
        assert mailbox.connections == 0


async def test_a_webhook_is_signed_and_says_the_same_to_people_and_to_programs() -> None:
    heard: list[Asked] = []
    statuses = [503, 200, 422]

    async def hear(asked: Asked) -> Reply:
        heard.append(asked)
        return Reply(statuses.pop(0), b"no")

    server = SmallServer(hear)
    port = await server.serve(Reserved.at("127.0.0.1", 0))
    orders = WebhookOrders(f"http://127.0.0.1:{port}/won", SECRET, lambda: NOW_US, TERMS, public_only=False)
    webhook = WebhookNotifier(orders)
    assert [type(await webhook.send(MESSAGE)) for _ in range(3)] == [Unknown, Accepted, Rejected]
    webhook.close()
    await server.stop()
    assert {asked.headers["webhook-id"] for asked in heard} == {MESSAGE.number}
    body = heard[0].body
    assert signing.verify(signing.keys_of(SECRET), heard[0].headers, body, NOW_US // 1_000_000) is None
    said = json.loads(body)
    assert said["type"] == "grant.granted"
    assert (said["data"]["user"], said["data"]["amount"], said["data"]["title"]) == ("ann", "8.88", MESSAGE.title)


async def test_a_webhook_in_a_private_network_is_told_nothing_unless_allowed() -> None:
    orders = WebhookOrders("http://127.0.0.1:9/won", SECRET, lambda: NOW_US, TERMS, public_only=True)
    told = await WebhookNotifier(orders).send(MESSAGE)
    assert isinstance(told, Unknown)
    assert "private" in told.why


# Which of its hundred services use what Python deprecates is not ours to mend.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_apprise_tells_by_its_url_and_is_never_believed_to_have_failed() -> None:
    from redrush.providers.notifiers.apprise import AppriseNotifier  # noqa: PLC0415 - an extra

    heard: list[Asked] = []
    statuses = [200, 500]

    async def hear(asked: Asked) -> Reply:
        heard.append(asked)
        return Reply(statuses.pop(0))

    with pytest.raises(ConfigError, match="knows no service"):
        AppriseNotifier("nothing-of-the-kind://secret", TERMS)
    server = SmallServer(hear)
    port = await server.serve(Reserved.at("127.0.0.1", 0))
    notifier = AppriseNotifier(f"json://127.0.0.1:{port}/{{user}}", TERMS)
    try:
        assert [type(await notifier.send(MESSAGE)) for _ in range(2)] == [Accepted, Unknown]
    finally:
        notifier.close()
        await server.stop()
    assert heard[0].path == "/ann"
    assert json.loads(heard[0].body)["title"] == MESSAGE.title


def test_contacts_are_read_again_when_the_file_was_replaced(tmp_path: Path) -> None:
    file = tmp_path / "contacts.csv"
    file.write_text("user,to,language\nann,ann@corp.example,en\nbob,bob@corp.example\n")
    contacts = ContactFile(file)
    assert (contacts("ann"), contacts("bob"), contacts("cid")) == (
        Contact("ann@corp.example", "en"),
        Contact("bob@corp.example"),
        None,
    )
    file.write_text("ann,ann@corp.example\nbob,bob@corp.example\ncid,cid@corp.example,zh\n")
    assert contacts("cid") == Contact("cid@corp.example", "zh")
    assert by_pattern("{user}@corp.example")("dan") == Contact("dan@corp.example")


def test_a_broken_file_of_contacts_is_read_once_and_told_of_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "contacts.csv"
    file.write_text("ann,ann@corp.example\n")
    contacts, reads = ContactFile(file), []

    def counted(path: Path, bytes_max: int) -> bytes:
        reads.append(path)
        return read_named(path, bytes_max)

    monkeypatch.setattr("redrush.providers.contacts.read_named", counted)
    file.write_text("ann,ann@corp.example\nbob\n")
    for user in ("bob", "cid", "dan"):
        with pytest.raises(ConfigError, match="line 2 is no contact"):
            contacts(user)
    assert reads == [file]
    assert contacts("ann") == Contact("ann@corp.example")
    file.write_text("ann,ann@corp.example\nbob,bob@corp.example\n")
    assert (contacts("bob"), contacts("cid")) == (Contact("bob@corp.example"), None)


def test_contacts_that_nobody_may_read_are_read_once_somebody_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "contacts.csv"
    file.write_text("ann,ann@corp.example\n")
    contacts = ContactFile(file)
    file.write_text("ann,ann@corp.example\nbob,bob@corp.example\n")
    with monkeypatch.context() as patch:
        patch.setattr("redrush.providers.contacts.read_named", forbidden)  # a mode would not keep root out
        with pytest.raises(ConfigError, match="Permission denied"):
            contacts("bob")
    file.chmod(0o640)
    assert contacts("bob") == Contact("bob@corp.example")


def forbidden(_path: Path, bytes_max: int) -> bytes:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.mark.parametrize("line", ["ann", "ann,", "ann,a,b,c", ",a@b.example", "a b,a@b.example"])
def test_a_line_that_is_no_contact_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "contacts.csv"
    file.write_text(f"bob,bob@corp.example\n{line}\n")
    with pytest.raises(ConfigError, match="line 2 is no contact"):
        ContactFile(file)


async def test_a_slow_server_holds_up_no_other_thread_of_the_process(mailbox: Mailbox) -> None:
    async with mail_to(mailbox) as mail:
        mailbox.faults += ["hangs_after_the_dot", "hangs_after_the_dot"]
        hanging = [asyncio.create_task(mail.send(MESSAGE)) for _ in range(4)]
        await mailbox.came.wait()
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "here"), 1.0) == "here"
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
