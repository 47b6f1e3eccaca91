"""Everything the admin API stands on, made once: the parts, and what needs several of them."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import msgspec

from redrush.api.access import Actor
from redrush.api.account_changes import AccountChanges, By
from redrush.api.accounts import Accounts, Role
from redrush.api.beside import run_beside
from redrush.api.bills import Bills
from redrush.api.capacity import Capacities
from redrush.api.checklist import Checklists
from redrush.api.diary import Diary, Line
from redrush.api.drafting import Drafting
from redrush.api.drills import Draft, Drills
from redrush.api.event_link import Links
from redrush.api.failovers import EVERY_S, Failovers
from redrush.api.live import Live
from redrush.api.money import Purses
from redrush.api.passwords import hash_password, new_password
from redrush.api.payouts import Payouts
from redrush.api.people import People
from redrush.api.people_seen import READ_STORY, PeopleSeen
from redrush.api.refunds import Refunds
from redrush.api.reports import ITSELF, Reports
from redrush.api.reports import TICK_S as REPORTS_S
from redrush.api.schedules import Schedules
from redrush.api.seals import Refused
from redrush.api.sessions import Sessions
from redrush.api.sets import Sets
from redrush.api.steering import Steering
from redrush.control.campaigns import Noted
from redrush.control.data_dir import DataDir
from redrush.control.event import load_campaign
from redrush.control.sole_holder import hold_alone
from redrush.core.rush.instants import rfc3339_s
from redrush.errors import ConfigError, RedrushError
from redrush.operate.data_dir_reports import find_in_data_dir
from redrush.operate.looking import AccountTold, Lookup, PostingTold
from redrush.ports.grant_pages import LedgerPart
from redrush.watch.log import server_log

if TYPE_CHECKING:
    from redrush.api.provider_login import ProviderLogin

_Result = TypeVar("_Result")

ROOT_ADMIN: Final = "admin"
MASK_KEEPS: Final = 2
TICK_S: Final = 1.0
RECONCILE_MAX_S: Final = 3_600.0
LOOKUPS_MAX: Final = 16
"""Campaigns whose records are open at a time."""


def accounts_of(data_dir: DataDir) -> Accounts:
    """Return the accounts of a directory. ConfigError if they cannot be read."""
    return Accounts(data_dir.accounts)


def diary_of(data_dir: DataDir, now_us: Callable[[], int]) -> Diary:
    """Return the log of what people do about the console of a directory. ConfigError as of `Diary`."""
    return Diary(data_dir.root / "console.jsonl", now_us)


def account_changes_of(data_dir: DataDir, now_us: Callable[[], int]) -> AccountChanges:
    """Return the accounts of a directory, to be changed beside a console, or without one. ConfigError if they, or the
    log, cannot be read."""
    return AccountChanges(accounts_of(data_dir), diary_of(data_dir, now_us))


def first_admin(changes: AccountChanges, now_s: int) -> str | None:
    """Make the first account, if there is none, and return its password, which is told once; None: there are some."""
    if changes.accounts.people:
        return None
    password = new_password()
    changes.add(By(ITSELF), ROOT_ADMIN, Role.ADMIN, hash_password(password), now_s)
    return password


def masked(user: str) -> str:
    """Return a user id as viewers see it: that it is the same one can be told, whose it is cannot."""
    return f"{user[:MASK_KEEPS]}…{user[-MASK_KEEPS:]}" if len(user) > 2 * MASK_KEEPS + 1 else "…"


class Desk:
    """See the module. `start` it, then `stop`."""

    def __init__(
        self, data_dir: DataDir, deploy: Path | None, now_us: Callable[[], int], payments: Path | None = None
    ) -> None:
        """`payments` is the payments file of the event; None: that of its deployment, if there is one. ConfigError
        for a directory without a campaign, with files that cannot be read, or with another console."""
        data_dir.require()
        self.data_dir = data_dir
        self.now_us = now_us
        self.links = Links(data_dir, deploy)
        self.accounts = accounts_of(data_dir)
        self.sessions = Sessions(data_dir.root / "console-sessions.json", self.now_s)
        self.diary = diary_of(data_dir, now_us)
        self.people = People(self.accounts, self.sessions, self.diary, self.now_s)
        self.seen = PeopleSeen(self.accounts, self.diary, self.now_s)
        self.steering = Steering(
            self.links, self.accounts, data_dir.root / "console-proposals.json", self.diary, self.now_s
        )
        self.sets = Sets(self.links, self.steering, self.diary, self.now_s)
        self.payouts = Payouts(self.links.first, self.diary, now_us)
        self.bills = Bills(self.links, payments, self.diary, now_us)
        self.refunds = Refunds(self.links, self.diary, self.seen, now_us)
        self.drills = Drills(data_dir, data_dir.root / "console-drills.json", self.diary, now_us)
        self.reports = Reports(self.links, self.drills, self.diary, self.now_s)
        self.drafting = Drafting(data_dir, deploy, self.diary, now_us)
        self.schedules = Schedules(
            self.drafting, self.accounts, data_dir.root / "console-schedules.json", self.diary, self.now_s
        )
        self.purses = Purses(self._granted, self.payouts.accounts)
        self.live = Live(self.links, now_us, self.purses, self.steering.glass)
        self.failovers = Failovers(self.links, data_dir.root / "console-sets.json", self.diary, self.live.mark)
        self.capacities = Capacities(self.links, self.live, now_us)
        self.checklists = Checklists(
            self.links,
            self.live,
            self.capacities,
            self.drills,
            data_dir.root / "console-checklists.json",
            self.diary,
            now_us,
        )
        self.provider: ProviderLogin | None = None
        """With whom people may log in besides; None: with nobody."""
        self._lookups: dict[str | None, Lookup] = {}
        self._reader = ThreadPoolExecutor(1, "records")
        self._tasks: list[asyncio.Task[None]] = []
        self._log = server_log()
        self.reconciled: dict[str, Any] | None = None
        """What the last reconciliation that somebody asked for found."""
        self._reconciling: asyncio.Task[None] | None = None
        in_use = ConfigError(f"{data_dir.root}: another console of this event runs; use that one, or end it")
        self._alone: int | None = hold_alone(data_dir.root / "console.lock", in_use)

    def now_s(self) -> int:
        """Return the time, in seconds since the epoch."""
        return self.now_us() // 1_000_000

    async def start(self) -> None:
        """Begin to look, and to do what is due."""
        self._tasks = [
            asyncio.create_task(self._for_ever("live view", self.live.run), name="live"),
            asyncio.create_task(self._for_ever("schedules", self._tick), name="schedules"),
            asyncio.create_task(self._for_ever("scheduled campaigns", self.schedules.tick), name="scheduled campaigns"),
            asyncio.create_task(self._for_ever("reports", self.reports.tick, REPORTS_S), name="reports"),
            asyncio.create_task(self._for_ever("look at the sets", self.failovers.look, EVERY_S), name="sets"),
        ]

    async def stop(self) -> None:
        """End all that goes on."""
        tasks = [*self._tasks, *([] if self._reconciling is None else [self._reconciling])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(
            *tasks, self.purses.stop(), self.drills.stop(), self.reports.stop(), return_exceptions=True
        )
        self.people.passwords.close()
        self._reader.shutdown(cancel_futures=True)
        for lookup in self._lookups.values():
            lookup.close()
        self.let_go()

    def let_go(self) -> None:
        """Let another console of this event begin."""
        if self._alone is not None:
            os.close(self._alone)
            self._alone = None

    async def _for_ever(self, name: str, work: Callable[[], Awaitable[None]], rest_s: float = TICK_S) -> None:
        """What breaks off for a reason that nobody thought of is told, and begun again."""
        while True:
            try:
                await work()
            except Exception as fault:  # noqa: BLE001 - one bad answer must not end the console
                self._log.error(f"the console's {name} broke off, and begins again", fault=repr(fault))
            await asyncio.sleep(rest_s)

    async def _tick(self) -> None:
        await self.steering.tick()

    async def dry_run(
        self, actor: Actor, name: str, why: str, *, short: bool, seen: str | None = None
    ) -> dict[str, Any]:
        """Begin to play a draft as a drill. Refused while it is not fine, if it is not what was `seen` (None: whatever
        it is), and as every drill is."""
        base = await self.drafting.base(name, seen)
        checked = await self.drafting.check(name)
        if not checked.ok:
            raise Refused(409, f"the draft is not finished: {checked.problems[0].located}")
        drafts = self.drafting.drafts
        played = Draft(drafts.path(name), base, lambda: drafts.base(name))
        return await self.drills.begin_dry_run(actor, played, why, short=short)

    # -- records

    async def look_up(self, campaign: str | None, work: Callable[[Lookup], _Result]) -> _Result:
        """Return what `work` finds in the records of a campaign, in a thread of its own."""
        link = self.links.of(campaign)

        def looked() -> _Result:
            lookup = self._lookups.get(campaign)
            if lookup is None:
                while len(self._lookups) >= LOOKUPS_MAX:
                    self._lookups.pop(next(iter(self._lookups))).close()
                lookup = self._lookups[campaign] = Lookup(link.data_dir, link.deployment)
            return work(lookup)

        return await asyncio.get_running_loop().run_in_executor(self._reader, looked)

    async def _granted(self, campaign: str) -> tuple[str, dict[str, int]]:
        return await self.look_up(campaign, lambda lookup: lookup.granted())

    async def accounts_of(self, campaign: str | None) -> list[AccountTold]:
        """Return the accounts of a campaign that are no user's: in the records, and in the bill book where there is
        one."""
        name = campaign or load_campaign(self.data_dir).id
        told = await self.look_up(campaign, lambda lookup: lookup.balances())
        moved = (await self.payouts.accounts([name])).get(name, {})
        return [*told, *await self.look_up(campaign, lambda lookup: lookup.moved(moved))]

    async def ledger(
        self, campaign: str | None, book: Literal["records", "bills"], part: LedgerPart, after: str, limit: int
    ) -> tuple[list[PostingTold], str | None]:
        """Return postings of a campaign in one of its books, and the id to go on from; None: there are no more.
        RedrushError if it does not answer in time, ConfigError where there is no bill book."""
        if book == "records":
            return await self.look_up(campaign, lambda lookup: lookup.ledger(part, after, limit))
        name = campaign or load_campaign(self.data_dir).id
        found = await self.payouts.ledger(name, part, after, limit)
        return await self.look_up(campaign, lambda lookup: lookup.told(found))

    async def from_journal(self, campaign: str | None, user: str) -> dict[str, Any]:
        """Return what the logs themselves say of a user: the authority, read through."""
        link = self.links.of(campaign)
        deployment = link.deployment
        if deployment is None:
            found = await asyncio.to_thread(find_in_data_dir, link.data_dir, user)
        else:
            from redrush.operate.deployment_reports import find_in_deployment  # noqa: PLC0415 - needs the clients

            found, _ = await asyncio.to_thread(find_in_deployment, deployment, user)
        told: dict[str, Any] = msgspec.to_builtins(found)
        return told

    def reconcile(self, actor: Actor, campaign: str | None) -> None:
        """Begin to reconcile, unless somebody has already; what it finds is in `reconciled`."""
        if self._reconciling is not None and not self._reconciling.done():
            return
        self.diary.note(actor.name, "reconcile", campaign or "", address=actor.address)
        self.reconciled = {"running": True, "by": actor.name, "at": rfc3339_s(self.now_s()), "report": None}
        self._reconciling = asyncio.create_task(self._reconcile(campaign))

    async def _reconcile(self, campaign: str | None) -> None:
        assert self.reconciled is not None
        try:
            link = self.links.of(campaign)
            deployment = link.deployment
            if deployment is None:
                report = await _reconciled_beside(link.data_dir)
            else:
                from redrush.operate.deployment_reports import reconcile_deployment  # noqa: PLC0415 - as above

                report = (await asyncio.to_thread(reconcile_deployment, deployment)).to_json()
            self.reconciled = {**self.reconciled, "running": False, "report": report}
        except RedrushError as fault:
            self.reconciled = {**self.reconciled, "running": False, "why": str(fault)}

    # -- who did what

    async def audit(self, campaign: str | None, *, people: bool) -> list[dict[str, Any]]:
        """Return what was done by whom, the newest first: switches, campaigns, and the console's own log. RedrushError
        if a log cannot be read. `people`: with the ids of users in it."""
        link = self.links.of(campaign)
        rows = [
            {
                "at": one["at"],
                "who": one["who"],
                "said": one.get("said", ""),
                "what": _action(one["what"]),
                "why": one["why"],
                "changes": one["changes"],
                "source": "switches",
                "number": one["version"],
                "chain": one.get("chain"),
            }
            for one in await link.audit()
        ]
        rows += [
            {**_plain(line.at, line.who, f"{line.what} {line.about if people else _veiled(line)}".strip(), line.why),
             "said": line.said, "source": "console",
             "number": line.number, "chain": line.chain}
            for line in await asyncio.to_thread(self.diary.lines)
        ]  # fmt: skip
        rows += [
            {**_plain(line.at, line.who, f"{line.what} {line.campaign}", line.why), "said": line.said,
             "source": "campaigns", "number": number, "chain": None}
            for number, line in enumerate(await asyncio.to_thread(self._campaign_log), start=1)
        ]  # fmt: skip
        return sorted(rows, key=lambda row: str(row["at"]), reverse=True)

    def _campaign_log(self) -> list[Noted]:
        try:
            lines = self.data_dir.campaign_log.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [msgspec.json.decode(line, type=Noted) for line in lines[-1_000:]]


async def _reconciled_beside(data_dir: DataDir) -> dict[str, Any]:
    """Return the report of `redrush reconcile --json`. RedrushError with what it said if there is none."""
    ran = await run_beside(("reconcile", "--data", str(data_dir.root.absolute()), "--json"), RECONCILE_MAX_S)
    if (report := ran.told) is None:
        raise RedrushError(ran.said)
    return report


def _action(what: dict[str, Any]) -> str:
    about = what.get("switch") or what.get("playbook") or what.get("set") or ""
    return f"{what['action']} {about}"


def _veiled(line: Line) -> str:
    """Return what an entry is about, for who sees no ids of users."""
    return masked(line.about) if line.what == READ_STORY else line.about


def _plain(at: str, who: str, what: str, why: str) -> dict[str, Any]:
    return {"at": at, "who": who, "said": "", "what": what, "why": why, "changes": []}
