"""The messages of a process: the book, and a courier for each notifier of a payments file.

All campaigns of the process share one book, which is the first campaign's directory's, or the deployment's: a
notifier's pace is its own, not a campaign's. It is begun when somebody is to be told for the first time.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, Protocol

from redrush.config import NotifierSpec
from redrush.control.campaigns import directory_of
from redrush.control.code_file import Codes
from redrush.control.data_dir import DataDir
from redrush.control.event import OpenTerms, as_served, load_open_terms
from redrush.control.sealing import SealedCampaign, load_campaign
from redrush.core.nobody import ignore, never
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.holding import PotTables
from redrush.core.rush.message import filled
from redrush.core.rush.zones import parse_zone
from redrush.errors import RedrushError
from redrush.ports.message_book import KeptMessage, MessageBook
from redrush.ports.notifier import Message
from redrush.ports.provider import Rejected
from redrush.records.sqlite.book_examining import check_whole
from redrush.records.sqlite.book_mark import begin_mark
from redrush.records.sqlite.file import check_there
from redrush.records.sqlite.messages import BOOK, SqliteMessageBook
from redrush.settle.messages.announcing import EMBEDDED_LOG, Announcer, cursor_name
from redrush.settle.messages.courier import Courier
from redrush.settle.pages import ReadLog
from redrush.wiring.notifiers import Reached, reached
from redrush.wiring.role import PartsBeside

CODE: Final = "code:"
"""What `fields["holds"]` begins with where a code was won; its place in the list follows."""


class Words:
    """What a campaign says to its winners."""

    def __init__(self, data_dir: DataDir, campaign: Campaign, terms: OpenTerms) -> None:
        self._codes = Codes(data_dir, campaign.id)
        self.amend(campaign, terms)

    @classmethod
    def load(cls, data_dir: DataDir) -> "Words":
        """Return those of a directory whose campaign may be asleep. ConfigError if it has none."""
        terms = load_open_terms(data_dir)
        return cls(data_dir, as_served(load_campaign(data_dir), terms), terms)

    def amend(self, campaign: Campaign, terms: OpenTerms) -> None:
        """Say this from now on."""
        self._campaign = campaign
        self._by = {one.by: one for one in terms.messages}
        self._names = terms.page.names
        self._zone = parse_zone(campaign.timezone)

    def compose(self, kept: KeptMessage, one: Reached) -> Message | Rejected:
        """Return what is sent. ConfigError for a code that cannot be shown."""
        terms = self._by.get(kept.by)
        if terms is None:
            return Rejected(f"the campaign has no [[message]] by {kept.by} any more", final=True)
        contact = one.contact(kept.user)
        if contact is None:
            return Rejected("the contacts do not say where to tell them", final=True)
        said, holds = kept.fields, kept.fields["holds"]
        code = self._codes(said["pot"], int(holds.removeprefix(CODE))) if holds.startswith(CODE) else ""
        language = contact.language or terms.language
        at = datetime.fromtimestamp(kept.at_us / 1e6, self._zone).strftime("%Y-%m-%d %H:%M")
        text = filled(
            terms,
            language,
            {
                "campaign": self._campaign.name,
                "round": self._names.get(said["round"], said["round"]),
                "worth": said["worth"],
                "code": code,
                "grant": kept.grant,
                "user": kept.user,
                "at": at,
            },
        )
        fields: dict[str, str | int | None] = {
            "grant": kept.grant,
            "campaign": kept.campaign,
            "round": said["round"],
            "amount": said["amount"],
            "currency": said["currency"],
            "holds": holds or None,
            "prize": said["prize"] or None,
            "code": code or None,
        }
        return Message(
            number=kept.number, user=kept.user, to=contact.to, language=language, title=text.title, text=text.text,
            at_us=kept.at_us, fields=fields,
        )  # fmt: skip


class WordsByCampaign:
    """Finds what each campaign of a directory says: of those that are served as they are now, else as it stands on
    disk. Called from the couriers' threads."""

    def __init__(self, data_dir: DataDir) -> None:
        self._data_dir = data_dir
        self._known: dict[str, Words] = {}

    def __setitem__(self, campaign_id: str, words: Words) -> None:
        self._known[campaign_id] = words

    def __getitem__(self, campaign_id: str) -> Words:
        """Return it. ConfigError for a campaign that the directory does not have."""
        if campaign_id not in self._known:
            hosted = directory_of(self._data_dir, campaign_id)
            self._known[campaign_id] = Words.load(hosted if hosted.campaign.exists() else self._data_dir)
        return self._known[campaign_id]


class Shelf(Protocol):
    """Where the book is."""

    def has_book(self) -> bool:
        """Whether there may be something in it to send."""

    def open(self) -> MessageBook:
        """Open the book, beginning it if there is none yet."""


class DirectoryShelf:
    """Of a server on one machine."""

    def __init__(self, data_dir: DataDir) -> None:
        """ConfigError for a book that is gone, or damaged."""
        check_there(data_dir.messages, BOOK)
        check_whole(data_dir.messages, BOOK)
        self._path = data_dir.messages

    def has_book(self) -> bool:
        """See the protocol."""
        return self._path.exists()

    def open(self) -> MessageBook:
        """See the protocol. That people are told from now on is written down."""
        book = SqliteMessageBook.open_path(self._path)
        begin_mark(self._path)
        return book


class MessagesPart:
    """See the module. `serve` each campaign, and make an `announcer` of each of its logs; `start`, then `stop`."""

    def __init__(
        self,
        specs: Sequence[NotifierSpec],
        data_dir: DataDir,
        shelf: Shelf,
        now_us: Callable[[], int],
        log: Any,
        *,
        busy: Callable[[], bool] = never,
        on_fault: Callable[[RedrushError], None] = ignore,
    ) -> None:
        """Connects to nothing yet. ConfigError for a secret or contacts that are not there."""
        self._shelf = shelf
        self._now_us = now_us
        self._log = log
        self._busy = busy
        self._on_fault = on_fault
        self._words = WordsByCampaign(data_dir)
        self._reached = {spec.name: reached(spec, now_us) for spec in specs}
        self._book: MessageBook | None = None
        self._couriers: list[Courier] = []
        self._tasks = PartsBeside(log)

    @property
    def couriers(self) -> Mapping[str, Courier]:
        """Those that send, by name, once there is something to send."""
        return {one.name: one for one in self._couriers}

    def serve(self, data_dir: DataDir, campaign: Campaign, terms: OpenTerms) -> None:
        """Know what a campaign says to its winners."""
        self._words[campaign.id] = Words(data_dir, campaign, terms)
        for one in terms.messages:
            if one.by not in self._reached:
                self._log.warning("nobody is told: the payments file (--payments) has no such notifier", by=one.by)

    def announcer(
        self,
        sealed: SealedCampaign,
        terms: OpenTerms,
        read: ReadLog,
        *,
        log: str = "embedded",
        pots: PotTables,
        busy: Callable[[], bool],
    ) -> Announcer:
        """Return what has the winners of a log told, of a campaign that is served."""
        return Announcer(
            self._begun, sealed.campaign, terms.messages, sealed.amounts, read, self._now_us,
            log=log, pots=pots, busy=busy, wake=self._wake, on_fault=self._on_fault,
        )  # fmt: skip

    def is_behind(self, campaign: Campaign, terms: OpenTerms, recorded: int) -> bool:
        """Whether a campaign that may be asleep has winners to tell, of so many records. Raises BookFailed."""
        if not terms.messages:
            return False
        told = 0 if self._book is None else self._book.cursor(cursor_name(campaign.id, EMBEDDED_LOG, terms.messages))
        return told < recorded

    def amend(self, campaign: Campaign, terms: OpenTerms) -> None:
        """Say what the campaign says now, also of wins before."""
        self._words[campaign.id].amend(campaign, terms)

    def start(self) -> None:
        """Send what earlier processes have left, if there is any."""
        if self._shelf.has_book():
            self._begun()

    def _begun(self) -> MessageBook:
        """Return the book; the couriers run from now on."""
        if self._book is None:
            self._book = self._shelf.open()
            for name, one in self._reached.items():
                compose = partial(self._compose, one)
                courier = Courier(
                    name, self._book, one.notifier, compose, self._now_us, busy=self._busy, on_fault=self._on_fault
                )
                self._couriers.append(courier)
                self._tasks.add(f"messages by {name}", courier.run())
        return self._book

    def _compose(self, one: Reached, kept: KeptMessage) -> Message | Rejected:
        return self._words[kept.campaign].compose(kept, one)

    def _wake(self) -> None:
        for courier in self._couriers:
            courier.wake()

    async def stop(self) -> None:
        """Write down what is under way, and close."""
        for courier in self._couriers:
            courier.stop()
        await self._tasks.ended()
        self.abort()

    def abort(self) -> None:
        """Let go of everything, before or after anything was begun."""
        for one in self._reached.values():
            one.notifier.close()
        if self._book is not None:
            self._book.close()
            self._book = None
