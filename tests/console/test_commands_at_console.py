"""`redrush switch|playbook|campaign|payout --console URL --key FILE`: the commands of an operator on another machine,
over real HTTP, who stands in the logs as the key's owner whatever anybody says."""

import asyncio
import datetime
import getpass
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import uvicorn

from redrush.api.access import Actor
from redrush.api.accounts import Role
from redrush.console.wording import in_chinese
from redrush.control.switch_log import entries_of
from redrush.errors import ConfigError
from redrush.http.sockets import Reserved
from redrush.operate.at_console import AtConsole
from redrush.records.sqlite.bills import SqliteBillBook
from tests.campaigns import a_round, campaign
from tests.cli.test_commands import Run, is_one_sentence, run
from tests.console.console_world import PEOPLE, World, without_server
from tests.console.test_console_proving import payout

__all__ = ["run"]

PACE: Final = "release.r1.per_second"


class Remote:
    """A console over HTTP, in a thread; and the options that ask it as somebody."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ready, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self.world: World
        self.url = ""

    async def _main(self) -> None:
        async with without_server(self._directory / "d") as self.world:
            reserved = Reserved.at("127.0.0.1", 0)
            self.url = f"http://127.0.0.1:{reserved.port}"
            server = uvicorn.Server(uvicorn.Config(self.world.served, log_config=None, lifespan="off"))
            serving = asyncio.create_task(server.serve(sockets=reserved.sockets))
            self._ready.set()
            await asyncio.to_thread(self._over.wait)
            server.should_exit = True
            await serving

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(30)

    def stop(self) -> None:
        self._over.set()
        self._thread.join(30)

    def of(self, name: str) -> tuple[str, ...]:
        """Return the options with which this person asks, with a key of their own."""
        key = self._directory / f"{name}.key"
        if not key.exists():
            actor = Actor(name=name, role=PEOPLE[name], address="127.0.0.1", session="x")
            key.write_text(self.world.desk.people.add_key(actor, PEOPLE[name], 1, "test"))
        return "--console", self.url, "--key", str(key)


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    made = Remote(tmp_path_factory.mktemp("remote"))
    made.start()
    yield made
    made.stop()


def test_a_switch_is_set_and_released_from_elsewhere_under_the_name_of_the_keys_owner(run: Run, remote: Remote) -> None:
    olga = remote.of("olga")
    done = run("switch", *olga, "set", PACE, "5", "--why", "slow store", "--who", "somebody else", "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["changes"] == [{"switch": PACE, "from": "off", "to": 5.0}]
    listed = run("switch", *olga, "list")
    assert f"{PACE} = 5" in listed.out
    assert "olga" in run("switch", *olga, "log").out
    assert run("switch", *olga, "release", PACE).code == 0
    entries = entries_of(remote.world.data_dir.switches)
    assert [(entry.who, entry.said) for entry in entries[-2:]] == [("olga", "in the console")] * 2
    assert run("playbook", *olga, "apply", "calm").code == 0
    assert "applied by olga" in run("playbook", *olga, "list").out
    assert run("playbook", *olga, "undo", "calm").code == 0


def test_the_environment_names_the_console_where_no_option_says_where(
    run: Run, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url, _, key = remote.of("vera")
    monkeypatch.setenv("REDRUSH_CONSOLE", url)
    monkeypatch.setenv("REDRUSH_KEY_FILE", key)
    assert run("switch", "list").code == 0
    refused = run("switch", "set", PACE, "5")
    assert (refused.code, is_one_sentence(refused.err)) == (1, True)
    assert "needs the role operator, and vera has viewer" in refused.err
    here = run("switch", "list", "--data", remote.world.data_dir.root)
    assert here.code == 0, "a directory that is named goes first"
    both = run("switch", "--console", url, "list", "--data", remote.world.data_dir.root)
    assert (both.code, is_one_sentence(both.err)) == (2, True)


def test_what_needs_a_second_person_is_proposed_and_told_so(run: Run, remote: Remote) -> None:
    anna = Actor(name="anna", role=Role.ADMIN, address="127.0.0.1", session="x")
    remote.world.desk.steering.protect(anna, ["answer_ended*"])
    before = len(entries_of(remote.world.data_dir.switches))
    told = run("switch", *remote.of("olga"), "set", "answer_ended.r1", "on", "--why", "over")
    assert (told.code, is_one_sentence(told.err)) == (1, True)
    (made,) = remote.world.desk.steering.proposals()
    assert (made.by, made.why, made.id in told.err) == ("olga", "over", True)
    assert len(entries_of(remote.world.data_dir.switches)) == before
    remote.world.desk.steering.protect(anna, [])


def test_a_campaign_comes_with_its_lists_is_shown_changed_and_ended(run: Run, remote: Remote, tmp_path: Path) -> None:
    olga = remote.of("olga")
    file = tmp_path / "more.toml"
    (tmp_path / "guests.txt").write_text("ann\nbob\n")
    text = campaign(a_round("m1", "1.00", 10, opens="2090-01-01T00:00:00Z"), id="more", audience="guests.txt")
    file.write_text(text)
    later = run("campaign", *olga, "add", file, "--at", "2090-01-01T00:00:00Z")
    assert (later.code, "within a year" in later.err) == (2, True), "a slip of the pen"
    assert run("campaign", *olga, "add", file, "--at", "tomorrow").code == 2
    assert run("campaign", "add", file, "--data", tmp_path, "--at", "2090-01-01T00:00:00Z").code == 2, "nobody waits"
    soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).isoformat()
    later = run("campaign", *olga, "add", file, "--at", soon, "--json")
    assert later.code == 0, later.err
    assert json.loads(later.out)["state"] == "waiting"
    assert run("campaign", *olga, "add", file, "--at", soon).code == 1, "it waits already"
    added = run("campaign", *olga, "add", file)
    assert (added.code, added.out) == (0, "more: is added\n"), added.err
    assert "more: ahead" in run("campaign", *olga, "list").out
    assert "round m1" in run("campaign", *olga, "show", "more").out
    assert run("campaign", *olga, "show", "none").code == 2
    file.write_text(text.replace('name = "n"', 'name = "another name"'))
    seen = run("campaign", *olga, "change", file)
    assert (seen.code, "add --yes" in seen.out) == (0, True), seen.err
    assert run("campaign", *olga, "change", file, "--yes", "--why", "a name").code == 0
    assert "another name" in run("campaign", *olga, "list").out
    file.write_text(file.read_text() + "[gate]\nconnections_max = 999\n")
    seen = run("campaign", *olga, "change", file)
    assert seen.out.splitlines()[0].endswith("999; from the next start on"), seen.out
    done = run("campaign", *olga, "change", file, "--yes", "--why", "a gate")
    assert done.out.splitlines()[1:] == ["changed; the running server takes that up at its next start, not before"]
    file.write_text(file.read_text().replace("999", "998").replace("another name", "a third"))
    done = run("campaign", *olga, "change", file, "--yes", "--why", "both")
    assert done.out.splitlines()[-1] == (
        "changed; the running server follows within two seconds, but takes up gate.connections_max at its next start"
    )
    drafts = remote.world.desk.drafting.drafts
    with pytest.raises(ConfigError, match=r'campaign "more" is served with guests\.txt of this draft') as kept:
        drafts.remove("more")
    assert in_chinese(str(kept.value)) != str(kept.value)
    assert drafts.files("more")
    assert run("campaign", *olga, "end", "more", "--why", "no more").code == 2, "not without --yes"
    assert run("campaign", *olga, "end", "more", "--why", "no more", "--yes").code == 0
    drafts.remove("more")
    noted = remote.world.data_dir.campaign_log.read_text().splitlines()
    assert {json.loads(line)["who"] for line in noted} == {"olga"}
    file.write_text(text.replace("guests.txt", "../guests.txt"))
    refused = run("campaign", *olga, "add", file)
    assert (refused.code, "beside the file" in refused.err) == (2, True)


def test_a_draft_that_somebody_writes_is_not_written_over_unasked(run: Run, remote: Remote, tmp_path: Path) -> None:
    olga, drafts = remote.of("olga"), remote.world.desk.drafting.drafts
    file = tmp_path / "mine.toml"
    text = campaign(a_round("m1", "1.00", 10, opens="2090-01-01T00:00:00Z"), id="mine")
    file.write_text(text)
    drafts.begin("mine", "packets")
    theirs = drafts.read("mine")
    for command in ("add", "add --at 2090-01-01T00:00:00Z"):
        refused = run("campaign", *olga, *command.split(), file)
        assert (refused.code, is_one_sentence(refused.err)) == (2, True)
        assert "--replace" in refused.err
    assert drafts.read("mine") == theirs
    assert run("campaign", *olga, "add", file, "--replace").code == 0
    assert drafts.read("mine") == text
    for name in ("second", "third"):  # what is served is kept, so the next text may take its place
        file.write_text(text.replace('name = "n"', f'name = "{name}"'))
        assert run("campaign", *olga, "change", file, "--yes").code == 0
    drafts.write("mine", theirs)
    file.write_text(text)
    assert run("campaign", *olga, "change", file).code == 2
    assert run("campaign", *olga, "change", file, "--replace").code == 0
    assert run("campaign", "add", file, "--data", tmp_path, "--replace").code == 2
    first = run("campaign", *olga, "end", "c", "--why", "no more", "--yes")
    assert (first.code, "redrush stop --data" in first.err, "answer_ended" in first.err) == (1, True, True)
    assert run("campaign", *olga, "end", "mine", "--why", "no more", "--yes").code == 0


def test_who_changes_accounts_by_command_is_in_the_log_of_the_console_that_runs(run: Run, remote: Remote) -> None:
    here = ("--data", remote.world.data_dir.root)
    added = run("user", "add", "nora", "--role", "viewer", *here, "--who", "the one on call")
    assert (added.code, added.err) == (0, "")
    remote.world.desk.people.add_key(Actor(name="anna", role=Role.ADMIN, address="x", session="x"), Role.VIEWER, 1, "")
    assert run("user", "role", "nora", "operator", *here).code == 0
    token = run("operator", "add", "ann", *here).out
    Path("ann.token").write_text(token)
    assert run("user", "reset", "nora", *here, "--token", "ann.token").code == 0
    assert run("user", "remove", "nora", *here).code == 0
    by_system = getpass.getuser()
    noted = [(line.who, line.said, line.what, line.about) for line in remote.world.desk.diary.lines()]
    assert [one for one in noted if "nora" in one[3]] == [
        ("event", "the one on call", "add person", "nora as viewer"),
        ("event", by_system, "change role", "nora to operator"),
        ("ann", by_system, "reset password", "nora, 0 API keys taken back"),
        ("event", by_system, "remove person", "nora"),
    ]
    shown = AtConsole(remote.url, Path(remote.of("anna")[3])).read("/audit")["entries"]
    assert ("event", "the one on call", "add person nora as viewer") in {
        (row["who"], row["said"], row["what"]) for row in shown
    }
    before = len(remote.world.desk.diary.lines())
    for refused in ("add olga --role viewer", "role nosuch viewer", "reset nosuch", "remove nosuch"):
        ended = run("user", *refused.split(), *here)
        assert (ended.code, is_one_sentence(ended.err)) == (2, True), refused
    assert len(remote.world.desk.diary.lines()) == before, "what is refused is not in the log as done"
    wrong = run("user", "role", "nora", "viewer", *here, "--token", "missing.token")
    assert (wrong.code, is_one_sentence(wrong.err)) == (2, True)


def test_payouts_are_listed_held_and_released_from_elsewhere(run: Run, remote: Remote) -> None:
    olga = remote.of("olga")
    with_none = run("payout", *olga, "list")
    assert (with_none.code, is_one_sentence(with_none.err)) == (2, True)
    book = SqliteBillBook.open_path(remote.world.data_dir.payments)
    bills = [payout(f"g{number}", f"user-{number}") for number in range(3)]
    book.make(bills, 1_000_000_000_000)
    book.close()
    rows = json.loads(run("payout", *olga, "list", "--json").out)["payouts"]
    assert len(rows) == 3
    held = run("payout", *olga, "hold", "--why", "look", rows[0]["number"])
    assert (held.code, "held" in held.out) == (0, True), held.err
    assert len(json.loads(run("payout", *olga, "list", "--state", "held", "--json").out)["payouts"]) == 1
    assert run("payout", *olga, "release", "--all").code == 0
    assert run("payout", *remote.of("vera"), "release", "--all").code == 1
    nothing = run("payout", *olga, "retry")
    assert (nothing.code, is_one_sentence(nothing.err)) == (2, True)


def test_a_console_that_is_not_there_and_a_key_that_is_none_are_told_in_one_sentence(run: Run, remote: Remote) -> None:
    Path("bad.key").write_text("rk1.none.none")
    for url, key, code in (
        ("http://127.0.0.1:9", "bad.key", 1),
        (remote.url, "bad.key", 2),
        (remote.url, "missing.key", 2),
        ("ftp://x", "bad.key", 1),
    ):
        told = run("switch", "--console", url, "--key", key, "list")
        assert (told.code, is_one_sentence(told.err)) == (code, True), told.err
