"""What holds of mails to winners, whoever was killed while they were sent."""

from collections import Counter
from collections.abc import Sequence

from redrush.ports.message_book import KeptMessage
from tests.mail_server import Mailbox


def nobody_was_told_twice(box: Mailbox, kept: Sequence[KeptMessage], kills: int) -> None:
    """The book says of each mail what became of it, or that nobody knows, and of no more than were under way."""
    told = Counter(str(mail["To"]) for mail in box.mails)
    assert [one for one, times in told.items() if times > 1] == [], "told twice"
    sent = {f"{one.user}@corp.example" for one in kept if str(one.state) == "sent"}
    unknown = {f"{one.user}@corp.example" for one in kept if str(one.state) == "unknown"}
    assert sent <= set(told), "what the book says was sent, was"
    assert set(told) - sent <= unknown
    assert kills <= len(unknown) <= 8 * kills, "as many as were under way"
