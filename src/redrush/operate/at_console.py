"""An operator's commands from anywhere: what they order is asked of the console's admin API, with an API key.

Who gives the order is the owner of the key, whatever anybody says; what needs a second person is proposed instead of
done, and said so. Each order is bound to what was previewed a moment before, as at the console.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from redrush.config.toml_file import FILE_BYTES_MAX, tables_of
from redrush.control.orders import (
    ApplyPlaybook,
    BoardOrder,
    ListPlaybooks,
    ListSwitches,
    Preview,
    ReadLog,
    ReleaseSwitch,
    SetSwitch,
    UndoPlaybook,
)
from redrush.errors import ConfigError, RedrushError
from redrush.http.bodies import json_object
from redrush.http.fetch import Fetcher, Unfetched
from redrush.named_file import read_named
from redrush.operate.switching import TOKEN_BYTES_MAX, OperationRefused

DEADLINE_S: Final = 30.0
UPLOAD_MAX_S: Final = 600.0
"""Of a list of ten million users."""
LOG_PAGE: Final = 200
PAGES_MAX: Final = 5_000
"""Of payouts: a million."""


class WaitsForApproval(OperationRefused):
    """A second person has to approve it. It was proposed, and nothing was done."""


class AtConsole(msgspec.Struct, frozen=True):
    """Where the console is, the file with the key, and the campaign that is meant; None: the first one."""

    url: str
    key: Path
    campaign: str | None = None

    def read(self, path: str, **query: str | int | None) -> Any:
        """Return the answer to a question. ConfigError, OperationRefused or RedrushError as the console refuses."""
        told = urlencode({name: value for name, value in query.items() if value not in {None, ""}})
        return self._ask("GET", f"{path}?{told}" if told else path)

    def order(self, path: str, fields: object, method: str = "POST") -> Any:
        """Return the answer to an order, as `read` does."""
        return self._ask(method, path, json.dumps(fields).encode(), "application/json")

    def send(self, path: str, content: bytes) -> Any:
        """Bring a file as it is."""
        return self._ask("PUT", path, content, "application/octet-stream", UPLOAD_MAX_S)

    def _ask(
        self, method: str, path: str, body: bytes = b"", content_type: str = "", deadline_s: float = DEADLINE_S
    ) -> Any:
        headers = {"Authorization": f"Bearer {self._secret()}", "Accept": "application/json", "Connection": "close"}
        if content_type:
            headers["Content-Type"] = content_type
        url = f"{self.url.rstrip('/')}/api/v1{path}"
        try:
            answer = asyncio.run(_fetch(method, url, headers, body, deadline_s))
        except Unfetched as fault:
            raise RedrushError(f"the console at {self.url} does not answer: {fault}") from fault
        if answer.status < 300:
            return json.loads(answer.body) if answer.body else None
        detail = str((json_object(answer.body) or {}).get("detail", f"{path} is answered with {answer.status}"))
        if answer.status == 401:
            raise ConfigError(f"{self.key}: is no API key of the console at {self.url}, or not any more")
        if answer.status in {400, 404, 405, 421}:
            raise ConfigError(f"the console at {self.url}: {detail}")
        raise (RedrushError if answer.status >= 500 else OperationRefused)(f"the console at {self.url}: {detail}")

    def _secret(self) -> str:
        try:
            return read_named(self.key, TOKEN_BYTES_MAX).decode("ascii").strip()
        except OSError as fault:
            raise ConfigError(f"{self.key}: cannot be read: {fault.strerror}") from fault
        except UnicodeDecodeError as fault:
            raise ConfigError(f"{self.key}: is no API key: it is not ASCII") from fault


async def _fetch(method: str, url: str, headers: dict[str, str], body: bytes, deadline_s: float) -> Any:
    fetcher = Fetcher()
    try:
        return await fetcher.fetch(method, url, headers=headers, body=body, deadline_s=deadline_s)
    finally:
        fetcher.close()


def carry_out(at: AtConsole, order: BoardOrder) -> dict[str, Any]:
    """Return what `redrush.operate.switching.operate` returns: the answer's fields, with "live". WaitsForApproval for a
    change that a second person has to approve."""
    match order:
        case ListSwitches():
            return dict(at.read("/switches", campaign=at.campaign))
        case ListPlaybooks():
            return dict(at.read("/playbooks", campaign=at.campaign))
        case ReadLog():
            return {"entries": list(at.read("/switches/log", campaign=at.campaign)["entries"]), "live": True}
        case Preview(inner):
            return dict(at.order("/changes/preview", _asked(at, inner)))
        case _:
            return _change(at, order)


def _change(at: AtConsole, order: SetSwitch | ReleaseSwitch | ApplyPlaybook | UndoPlaybook) -> dict[str, Any]:
    seen = at.order("/changes/preview", _asked(at, order))
    if seen["needs_approval"]:
        made = at.order("/proposals", {"asked": seen["asked"], "why": order.why})
        raise WaitsForApproval(
            f"a second person has to approve this: it is proposed as {made['id']}, and nothing was done yet; "
            f"{at.url.rstrip('/')}/waiting"
        )
    # Whoever writes the command out has named what it ends; the console asks its readers to type it.
    confirming = {"token": seen["token"], "why": order.why, "typed": seen["type_name"] or ""}
    return dict(at.order("/changes", confirming))


def _asked(at: AtConsole, order: SetSwitch | ReleaseSwitch | ApplyPlaybook | UndoPlaybook) -> dict[str, Any]:
    match order:
        case SetSwitch(name, value):
            asked: dict[str, Any] = {"verb": "set", "name": name, "value": value}
        case ReleaseSwitch(name):
            asked = {"verb": "release", "name": name}
        case ApplyPlaybook(playbook):
            asked = {"verb": "apply", "name": playbook}
        case UndoPlaybook(playbook):
            asked = {"verb": "undo", "name": playbook}
    return {**asked, "campaign": at.campaign}


# -- campaigns


def campaigns(at: AtConsole) -> list[dict[str, Any]]:
    """Return every campaign, the first one first."""
    return list(at.read("/campaigns"))


def show_campaign(at: AtConsole, campaign: str) -> dict[str, Any]:
    """Return one campaign with its rounds."""
    return dict(at.read(f"/campaigns/{quote(campaign, safe='')}"))


def place_campaign(at: AtConsole, file: Path, why: str, *, yes: bool, replace: bool = False) -> dict[str, Any]:
    """Bring a campaign file with the lists beside it, and have it served, or amended; without `yes` only told what that
    would do. ConfigError for a file that names a list elsewhere, and where somebody writes a draft of its name, unless
    it is to `replace` that."""
    draft, seen = _bring(at, file, replace=replace)
    return dict(at.order(f"{draft}/serve", {"why": why, "yes": yes, "seen": seen}))


def schedule_campaign(at: AtConsole, file: Path, why: str, due_s: int, *, replace: bool = False) -> dict[str, Any]:
    """Bring a campaign file as `place_campaign` does, and have it served at a time, as a new campaign."""
    draft, seen = _bring(at, file, replace=replace)
    return dict(at.order(f"{draft}/schedule", {"why": why, "due_s": due_s, "seen": seen}))


def _bring(at: AtConsole, file: Path, *, replace: bool) -> tuple[str, str]:
    """Bring a campaign file with its lists as a draft; return where that is, and what names it as it was brought: what
    somebody writes after that is not served."""
    try:
        text = read_named(file, FILE_BYTES_MAX).decode("utf-8")
        parsed = tables_of(text, str(file))
        name = str(parsed["campaign"]["id"])
    except (OSError, UnicodeDecodeError, KeyError, TypeError) as fault:
        raise ConfigError(f"{file}: is no campaign file: {fault}") from fault
    draft = f"/drafts/{quote(name, safe='')}"
    lists = _lists_of(file, parsed)
    if name in {one["name"] for one in at.read("/drafts")}:
        there = at.read(draft)
        if not (replace or there["served"] or there["text"] == text.replace("\r\n", "\n")):
            raise ConfigError(
                f'the console at {at.url} has a draft "{name}" that says something else, and is served nowhere: look '
                f"at {at.url.rstrip('/')}/drafts/{name}, or give the campaign another id; --replace writes over it"
            )
    else:
        there = at.order("/drafts", {"name": name})
    for beside in lists:
        at.send(f"{draft}/files/{quote(beside.name, safe='')}", beside.read_bytes())
    brought = at.order(draft, {"text": text, "seen": there["edition"]}, "PUT")
    return draft, brought["seen"]


def end_campaign(at: AtConsole, campaign: str, why: str) -> None:
    """Serve a campaign no more."""
    at.order(f"/campaigns/{quote(campaign, safe='')}/end", {"typed": campaign, "why": why})


def _lists_of(file: Path, parsed: object) -> list[Path]:
    found = []
    for text in _texts(parsed):
        if text.endswith((".csv", ".txt")):
            if Path(text).name != text:
                raise ConfigError(
                    f'{file}: names the list "{text}"; only lists that are beside the file can be brought'
                )
            beside = file.parent / text
            if not beside.is_file():
                raise ConfigError(f"{beside}: is not there, and the campaign needs it")
            found.append(beside)
    return found


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for one in value.values():
                yield from _texts(one)
        case list():
            for one in value:
                yield from _texts(one)


# -- payouts


def payouts(at: AtConsole, states: Sequence[str], user: str | None) -> Iterator[dict[str, Any]]:
    """Yield the payouts in these states, or all, of one user, or of all."""
    for state in states or (None,):
        after: int | None = 0
        for _ in range(PAGES_MAX):
            page = at.read("/payouts", state=state, user=user, after=after, limit=LOG_PAGE)
            yield from page["payouts"]
            after = page["next"]
            if after is None:
                break


def order_payouts(
    at: AtConsole, verb: str, numbers: Sequence[str], states: Sequence[str], why: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Order something about payouts; return those of which it was done, and why it was not of the others."""
    done: list[dict[str, Any]] = []
    refused: list[str] = []
    wanted = [{"verb": verb, "numbers": list(numbers)}] if numbers else [{"verb": verb, "state": one} for one in states]
    for one in wanted:
        try:
            counted = at.order("/payouts/count", one)
        except OperationRefused:
            if numbers or len(wanted) == 1:
                raise
            continue  # there is none in this state
        ordered = at.order("/payouts", {"token": counted["token"], "why": why})
        done += ordered["done"]
        refused += ordered["refused"]
    return done, refused
