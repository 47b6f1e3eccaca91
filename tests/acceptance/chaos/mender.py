"""The person on call: reads how the sets are, and does what the sentences say, word for word.

Nobody is granted anything until the receipts of those who were promised something are entered again: the sentence says
`answer_ended` before and `honour` after, and so it is done.
"""

import asyncio
import json
import re
import shlex
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from tests.commands import run_command

SURE_S: Final = 3.0
"""How long a sentence must stand before it is followed: much mends itself meanwhile."""
MENDED_DEADLINE_S: Final = 120.0
CALM_S: Final = 1.0
"""After the release of the switch, until no gate answers under it any more."""
POLL_S: Final = 0.5
ORDERS_MAX: Final = 24
"""Of one mending: three for each set that is lost, and as many once more."""
ORDER: Final = re.compile(r"`redrush (set (?:promote|rebuild) [^`]*)`")

RELEASE: Final = re.compile(r"`redrush set release (\S+) ")


class NotMended(AssertionError):
    """A sentence that nobody can follow, or a command that does not do what it says."""


class Operator:
    """See the module. `receipts` are those of everybody who was told that a slot is theirs."""

    def __init__(self, data: Path, receipts: Callable[[], Iterable[str]], say: Callable[[str], None]) -> None:
        self.did: list[str] = []
        self.honoured = 0
        self.problems: list[str] = []
        self.has_ended_event = False
        """Gates answer `closed` by this person's order, and not because a round is over."""
        self._data = data
        self._receipts = receipts
        self._say = say

    async def mend(self) -> None:
        """Return when every set can grant, and nothing that was acknowledged is missing. Raises NotMended."""
        deadline_s = time.monotonic() + MENDED_DEADLINE_S
        stood_since: dict[str, tuple[str, float]] = {}
        for_this = len(self.did)
        whole_since_s: float | None = None
        while True:
            sets = await self._sets()
            whole_since_s = (whole_since_s or time.monotonic()) if _are_whole(sets) else None
            if whole_since_s is not None and time.monotonic() - whole_since_s > SURE_S:
                return  # right after a fault nobody may have noticed yet
            for each in sets or ():
                sentence = each["why"] or ""
                if each["durability"] != "none" or not ORDER.search(sentence):
                    stood_since.pop(each["set"], None)
                    continue
                before, since_s = stood_since.get(each["set"], ("", 0.0))
                if sentence != before:
                    stood_since[each["set"]] = sentence, time.monotonic()
                elif time.monotonic() - since_s > SURE_S:
                    stood_since.pop(each["set"])
                    await self._follow(each, sentence)
                    # What is there now is another state than that of before; and on a busy machine it took its time.
                    deadline_s = time.monotonic() + MENDED_DEADLINE_S
            if len(self.did) - for_this > ORDERS_MAX:
                raise NotMended(f"the sentences go round in circles: {self.did[for_this:]}")
            if time.monotonic() > deadline_s:
                raise NotMended(f"no set may be lost for good: {sets}; done was {self.did}")
            await asyncio.sleep(POLL_S)

    async def _sets(self) -> list[dict[str, Any]] | None:
        code, said, _ = await run_command("set", "list", "--data", str(self._data), "--json")
        return json.loads(said)["sets"] if code == 0 else None

    async def _follow(self, state: dict[str, Any], sentence: str) -> None:
        """Do what the sentence says; look at `reconcile` before, and between."""
        self._say(f"set {state['set']} is withheld: {sentence}")
        if await self._reconciles():
            self.problems.append(f"reconcile is ok although set {state['set']} is withheld: {sentence}")
        order = ORDER.search(sentence)
        assert order is not None
        async with self._ended():
            await self._run(*(_plain(word, state) for word in shlex.split(order[1])))
            was_ok = await self._reconciles()
            entered = await self._honour()
            await self._give_up_what_nobody_has()
        if entered and was_ok:
            self.problems.append(f"reconcile was ok although {entered} grants that were acknowledged were lost")
        self.honoured += entered

    @asynccontextmanager
    async def _ended(self) -> AsyncIterator[None]:
        self.has_ended_event = True
        await self._run("switch", "set", "answer_ended", "on", "--why", "a set is mended")
        yield
        await self._run("switch", "release", "answer_ended", "--why", "it is mended")
        await asyncio.sleep(CALM_S)
        self.has_ended_event = False

    async def _honour(self) -> int:
        """Show every receipt, until each is in the set; return how many were missing."""
        path = self._data.with_name("receipts.txt")
        path.write_text("".join(f"{receipt}\n" for receipt in self._receipts()), encoding="utf-8")
        deadline_s = time.monotonic() + MENDED_DEADLINE_S
        entered = 0
        while True:
            code, said, fault = await run_command(
                "set", "honour", "--receipts", str(path), "--data", str(self._data), "--json"
            )
            rows: list[dict[str, Any]] = json.loads(said)["receipts"] if said.startswith("{") else []
            entered += len([row for row in rows if row["outcome"] == "entered"])
            if code == 0:
                self._say(f"honoured: {entered} entered, of {len(rows)}")
                return entered
            if rows or time.monotonic() > deadline_s:
                wrong = [row for row in rows if row["outcome"] not in {"entered", "known"}]
                raise NotMended(f"set honour ended with {code}: {wrong[:5]} {fault}")
            await asyncio.sleep(POLL_S)

    async def _give_up_what_nobody_has(self) -> None:
        """Write off what a set is known to lack, now that everybody has shown their receipts: a log that wrote no file
        went on for a moment, and was seen, before nothing was acknowledged any more."""
        _, said, _ = await run_command("reconcile", "--data", str(self._data), "--json")
        for problem in json.loads(said)["problems"] if said.startswith("{") else []:
            release = RELEASE.search(problem)
            if release is not None:
                await self._run("set", "release", release[1], "--why", "every receipt was shown", "--yes")

    async def _reconciles(self) -> bool:
        code, _, _ = await run_command("reconcile", "--data", str(self._data), "--json")
        return code == 0

    async def _run(self, *words: str) -> None:
        command = shlex.join(words)
        self._say(f"redrush {command}")
        deadline_s = time.monotonic() + MENDED_DEADLINE_S
        while True:
            code, _, said = await run_command(*words, "--data", str(self._data))
            if code == 0:
                self.did.append(command)
                return
            self._say(f"ended with {code}: {said.strip()}")
            if time.monotonic() > deadline_s:
                raise NotMended(f"redrush {command} ended with {code}: {said}")
            await asyncio.sleep(POLL_S)


def _plain(word: str, state: dict[str, Any]) -> str:
    """Return what a person writes where the sentence leaves something open."""
    servers = [str(each["address"]) for each in state["replicas"]]
    plain = {"…": "mended", "SET": str(state["set"]), "ADDRESS": servers[0] if servers else word}
    return plain.get(word, word)


def _are_whole(sets: list[dict[str, Any]] | None) -> bool:
    return sets is not None and all(each["durability"] != "none" and not each["cannot_grant"] for each in sets)
