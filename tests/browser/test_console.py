"""The operators' pages in a real browser: on a phone and at a desk, in both languages, over a real server."""

import datetime
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, FilePayload, Page, Route, expect

from redrush.api.accounts import Accounts
from redrush.config import parse_campaign
from redrush.control.campaigns import Listing, RoundTimes, keep_listings
from redrush.control.data_dir import DataDir
from redrush.control.event import prepare_event
from redrush.control.switch_log import entries_of
from redrush.operate.drafts import Drafts
from redrush.processes.loopback import free_port
from redrush.wiring.clock import system_clock
from tests.browser.axe import faults_of
from tests.browser.chromium import close
from tests.browser.visitor import DESKTOP, NETWORK, PATIENCE_MS, PHONE
from tests.console.console_world import PASSWORD, PEOPLE, QUICK, TEXT
from tests.console.test_console_pages import DRAW

pytestmark = pytest.mark.browser

PAGES: Final = (
    "/", "/wall", "/campaigns", "/steer", "/notice", "/waiting", "/grants", "/ledger", "/audit", "/proof", "/reports",
    "/fleet", "/drills", "/story", "/people", "/me", "/payouts", "/bills", "/refund", "/checklist?round=r1",
    "/drafts/first",
)  # fmt: skip
BOTH: Final = pytest.mark.parametrize(
    ("language", "size", "dark"), [("zh-CN", PHONE, True), ("en-GB", DESKTOP, False)], ids=["phone-zh", "desktop-en"]
)


class Console:
    """A server and a console over it, each a process; people with passwords. `serves`: there is a server."""

    def __init__(self, directory: Path, text: str = TEXT + DRAW, *, serves: bool = True) -> None:
        self.data_dir = DataDir(directory / "d")
        self.file = directory / "c.toml"
        self.file.write_text(text, encoding="utf-8")
        self.port, self._control, self.gate = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._processes: list[subprocess.Popen[str]] = []
        if serves:
            self._processes.append(
                self._run("serve", str(self.file), "--port", self.gate, "--control-port", self._control)
            )
        else:
            self.data_dir.create()
            prepare_event(parse_campaign(text, str(self.file)), self.data_dir, system_clock().now_us)
        accounts = Accounts(self.data_dir.accounts)
        for name, role in PEOPLE.items():
            accounts.add(name, role, QUICK.hash(PASSWORD), 0)
        for draft in ("first", "edited"):
            Drafts(self.data_dir).begin(draft, "packets")
        self.start()

    def start(self) -> None:
        self._console = self._run("console", "--port", self.port)

    def kill(self) -> None:
        self._console.send_signal(signal.SIGKILL)
        self._console.wait()

    def stop(self) -> None:
        for process in (self._console, *self._processes):
            process.terminate()
            process.wait(30)

    def _run(self, *words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "redrush", *map(str, words), "--data", str(self.data_dir.root)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        with process.stdout as told:
            assert told.readline() == "ready\n"
        return process


class Operator:
    """Somebody at the console. What goes wrong in their browser fails the test."""

    def __init__(self, browser: Browser, console: Console, name: str, **options: Any) -> None:
        size = options.get("size", DESKTOP)
        self.context: BrowserContext = browser.new_context(
            viewport={"width": size["width"], "height": size["height"]},
            locale=options.get("language", "en-GB"),
            color_scheme="dark" if options.get("dark") else "light",
            java_script_enabled=options.get("scripts", True),
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self.troubles: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.url = console.url
        self.page.goto(f"{self.url}/login")
        self.page.fill('[name="name"]', name)
        self.page.fill('[name="password"]', PASSWORD)
        self.page.click("button.main")
        self.page.wait_for_selector("header.top")

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.troubles.append(message.text)

    def goes_to(self, path: str) -> None:
        self.page.goto(self.url + path)

    def forgets_refusals(self) -> None:
        """Leave out what Chromium itself says of an answer that is a refusal, or none."""
        self.troubles = [one for one in self.troubles if NETWORK not in one]

    def leave(self) -> None:
        close(self.context)
        assert not self.troubles, self.troubles


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    running = Console(tmp_path_factory.mktemp("console"))
    yield running
    running.stop()


@BOTH
def test_every_page_is_for_everybody_and_breaks_no_rule(
    browser: Browser, console: Console, language: str, size: dict[str, int], dark: bool
) -> None:
    anna = Operator(browser, console, "anna", language=language, size=size, dark=dark)
    for path in PAGES:
        anna.goes_to(path)
        anna.page.wait_for_load_state("load")
        assert faults_of(anna.page) == [], path
        wide = anna.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size["width"], f"{path} is {wide} wide"
        for here in anna.page.locator(".top nav [aria-current]").all():
            expect(here).to_be_in_viewport()
        assert anna.page.get_attribute("html", "lang") == {"zh-CN": "zh-Hans", "en-GB": "en"}[language]
    anna.leave()


@pytest.mark.parametrize(
    "name",
    ["2027 春节红包雨·全国经销商与合作伙伴答谢专场（第一轮）", "Donaudampfschifffahrtsgesellschaftskapitänskajütentür"],
)
def test_no_page_is_wider_than_a_phone_for_the_name_of_a_campaign(browser: Browser, tmp_path: Path, name: str) -> None:
    running = Console(tmp_path, serves=False)
    try:
        round_ = RoundTimes(id="r1", opens_us=0, closes_us=1)
        keep_listings(
            running.data_dir, [Listing(id="k1", name=name, rounds=(round_,), added_at="2026-01-01T00:00:00Z")]
        )
        anna = Operator(browser, running, "anna", size=PHONE)
        wide = {}
        for path in PAGES:
            anna.goes_to(path)
            wide[path] = anna.page.evaluate("document.documentElement.scrollWidth")
        assert {path: width for path, width in wide.items() if width > PHONE["width"]} == {}
        anna.leave()
    finally:
        running.stop()


@BOTH
def test_a_switch_is_previewed_confirmed_and_released(
    browser: Browser, console: Console, language: str, size: dict[str, int], dark: bool
) -> None:
    olga = Operator(browser, console, "olga", language=language, size=size, dark=dark)
    before = len(entries_of(console.data_dir.switches))
    olga.goes_to("/steer")
    row = olga.page.locator("tr", has=olga.page.locator("code", has_text="release.r1.per_second"))
    row.locator('input[name="value"]').fill("7")
    row.locator('button[value="set"]').click()
    confirm = olga.page.locator("#confirming #confirm")
    expect(confirm).to_contain_text("off")
    expect(confirm.locator("strong").first).to_have_text("7")
    assert faults_of(olga.page) == []
    assert len(entries_of(console.data_dir.switches)) == before, "a preview changes nothing"
    confirm.locator('[name="why"]').fill("too fast")
    confirm.locator("button.main").click()
    expect(olga.page.locator(".note")).to_contain_text("1")
    entry = entries_of(console.data_dir.switches)[-1]
    assert (entry.who, entry.why, entry.changes[0].after) == ("olga", "too fast", 7)
    row = olga.page.locator("tr", has=olga.page.locator("code", has_text="release.r1.per_second"))
    row.locator('button[value="release"]').click()
    olga.page.locator("#confirming #confirm button.main").click()
    expect(olga.page.locator(".note")).to_be_visible()
    assert len(entries_of(console.data_dir.switches)) == before + 2
    olga.leave()


def test_all_of_it_works_without_a_script(browser: Browser, console: Console) -> None:
    olga = Operator(browser, console, "olga", scripts=False)
    before = len(entries_of(console.data_dir.switches))
    olga.goes_to("/steer")
    olga.page.locator("article", has_text="calm").locator("button").first.click()
    olga.page.wait_for_selector("#confirm")
    olga.page.fill('[name="why"]', "no script")
    olga.page.locator("#confirm button.main").click()
    olga.page.locator("article", has_text="calm").locator("button").nth(1).click()
    olga.page.locator("#confirm button.main").click()
    assert len(entries_of(console.data_dir.switches)) == before + 2
    olga.leave()


def test_two_people_in_two_browsers_approve_and_apply(browser: Browser, console: Console) -> None:
    olga, otto = (Operator(browser, console, name) for name in ("olga", "otto"))
    olga.goes_to("/steer")
    row = olga.page.locator("tr", has=olga.page.locator("code", has_text="sampling.non_core")).last
    row.locator('input[name="value"]').fill("0.5")
    row.locator('button[value="set"]').click()
    olga.page.locator('#confirming button[value="propose"]').click()
    expect(olga.page.locator("article").first).to_contain_text("sampling.non_core")
    assert olga.page.locator('form[action*="/approve"]').count() == 0, "nobody approves their own"
    otto.goes_to("/waiting")
    otto.page.locator('form[action*="/approve"] button').first.click()
    expect(otto.page.locator("article").first).to_contain_text("approved")
    olga.goes_to("/waiting")
    olga.page.locator('form[action*="/apply?"] button').first.click()
    expect(olga.page.locator("article").first).to_contain_text("applied")
    entry = entries_of(console.data_dir.switches)[-1]
    assert (entry.who, entry.why) == ("olga", " (approved by otto)")
    olga.leave()
    otto.leave()


def test_the_overview_goes_on_by_itself_and_survives_the_consoles_death(browser: Browser, console: Console) -> None:
    vera = Operator(browser, console, "vera")
    vera.page.wait_for_selector(".plot canvas")
    assert vera.page.locator('[data-round="c/d"] [data-pot]').count() == 2
    vera.page.evaluate("window.kept = true")
    seen = vera.page.text_content("#at")
    vera.page.wait_for_function("(seen) => document.querySelector('#at').textContent !== seen", arg=seen)
    assert vera.page.evaluate("window.kept"), "the page is not made anew for what it has"
    assert faults_of(vera.page) == []
    console.kill()
    vera.page.wait_for_selector("#pulse.late")
    console.start()
    vera.page.wait_for_selector("#pulse:not(.late)", state="attached")
    vera.goes_to("/audit")  # who was logged in still is
    assert vera.page.locator("header.top").count() == 1
    vera.troubles = [one for one in vera.troubles if "ERR_" not in one]  # that it was away, Chromium says itself
    vera.leave()


def test_going_ahead_alone_is_seen_by_everybody_within_a_second(browser: Browser, console: Console) -> None:
    anna, vera = Operator(browser, console, "anna"), Operator(browser, console, "vera")
    anna.goes_to("/waiting")
    anna.page.fill('[name="switches"]', "settlement.*")
    anna.page.locator('form[action="/waiting/protected"] button').click()
    vera.goes_to("/")
    vera.page.wait_for_selector(".plot canvas")
    anna.goes_to("/steer")
    row = anna.page.locator("tr", has=anna.page.locator("code", has_text="settlement.paused"))
    row.locator('button[value="set"]').click()
    confirm = anna.page.locator("#confirming #confirm")
    confirm.locator('[name="why"]').fill("the disk burns")
    confirm.locator('button[value="glass"]').click()
    expect(anna.page.locator(".note")).to_be_visible()
    at_s = time.monotonic()
    expect(vera.page.locator("#banners")).to_contain_text("the disk burns", timeout=PATIENCE_MS)
    assert time.monotonic() - at_s < 3  # one on a machine that does nothing else
    anna.leave()
    vera.leave()


@BOTH
def test_a_list_is_brought_on_the_page_with_its_faults_by_line(
    browser: Browser, console: Console, language: str, size: dict[str, int], dark: bool
) -> None:
    olga = Operator(browser, console, "olga", language=language, size=size, dark=dark)
    olga.goes_to("/drafts/first")
    fault = "users.txt 第 2 行：" if language == "zh-CN" else "users.txt:2:"
    for content, kind, told in ((b"good\nbad\x00one\n", "wrong", fault), (b"ann\nbob\n", "right", ": 2 ")):
        olga.page.set_input_files(
            "#bringing input", FilePayload(name="users.txt", mimeType="text/plain", buffer=content)
        )
        olga.page.click("#bringing button")
        expect(olga.page.locator(f"#brought .{kind}").last).to_contain_text(told)
    assert olga.page.locator("#brought .wrong").count() == 0, "what was wrong before is gone with the list"
    assert faults_of(olga.page) == []
    olga.goes_to("/drafts/first")
    expect(olga.page.locator("main code", has_text="users.txt").first).to_be_visible()
    olga.leave()


@BOTH
def test_two_people_in_two_browsers_write_one_draft_and_lose_nothing(
    browser: Browser, console: Console, language: str, size: dict[str, int], dark: bool
) -> None:
    name = f"shared-{language[:2]}"
    drafts = Drafts(console.data_dir)
    drafts.begin(name, "packets")
    base = drafts.read(name)
    olga, otto = (Operator(browser, console, one, language=language, size=size, dark=dark) for one in ("olga", "otto"))
    for one in (olga, otto):
        one.goes_to(f"/drafts/{name}")
    hers = base + "# hers\n"
    for text in (base + "# h\n", hers):  # kept by itself, more than once
        olga.page.fill("#source", text)
        olga.page.wait_for_function("(old) => document.querySelector('#writing [name=seen]').value !== old",
                                    arg=olga.page.input_value("#writing [name=seen]"))  # fmt: skip
    assert drafts.read(name) == hers
    his = base + "# his\n"
    otto.page.fill("#source", his)
    clash = otto.page.locator("#clash")
    expect(clash).to_contain_text("olga", timeout=PATIENCE_MS)
    expect(clash.locator("pre")).to_contain_text("-# hers", timeout=PATIENCE_MS)
    assert faults_of(otto.page) == []
    wide = otto.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= size["width"]
    assert (drafts.read(name), otto.page.input_value("#source")) == (hers, his), "both are there"
    otto.page.fill("#source", his + "# more of his\n")  # going on writing writes over nothing
    otto.page.click("#text p button")
    expect(clash.locator("pre")).to_contain_text("+# more of his", timeout=PATIENCE_MS)
    assert drafts.read(name) == hers
    clash.locator('[name="over"]').click()
    expect(clash).to_have_count(0, timeout=PATIENCE_MS)
    assert drafts.read(name) == his + "# more of his\n"
    olga.page.fill("#source", hers + "# and more\n")
    expect(olga.page.locator("#clash")).to_contain_text("otto", timeout=PATIENCE_MS)
    olga.page.locator('#clash form[method="get"] button').click()
    expect(olga.page.locator("#clash")).to_have_count(0, timeout=PATIENCE_MS)
    expect(olga.page.locator("#source")).to_have_value(his + "# more of his\n", timeout=PATIENCE_MS)
    for one in (olga, otto):
        one.forgets_refusals()
        one.leave()


def test_a_draft_that_is_written_fast_clashes_with_nobody(browser: Browser, console: Console) -> None:
    drafts = Drafts(console.data_dir)
    drafts.begin("fast", "packets")
    base = drafts.read("fast")
    olga = Operator(browser, console, "olga")
    olga.goes_to("/drafts/fast")
    held: list[Route] = []
    olga.page.route("**/drafts/fast", lambda route: route.continue_() if held else held.append(route))
    for number in range(4):  # more come while the first is under way: the last of them is what is kept
        olga.page.fill("#source", base + f"# {number}\n")
        olga.page.locator("#writing").evaluate("form => form.requestSubmit()")
    first = olga.page.input_value("#writing [name=seen]")
    with olga.page.expect_response("**/drafts/fast"):
        held[0].continue_()
    changed = "(old) => document.querySelector('#writing [name=seen]').value !== old"
    while drafts.read("fast") != base + "# 3\n":
        olga.page.wait_for_function(changed, arg=first)
        olga.page.wait_for_timeout(50)
    assert olga.page.locator("#clash").count() == 0
    olga.leave()


@BOTH
def test_a_campaign_is_cloned_scheduled_suspended_and_cancelled(
    browser: Browser, console: Console, language: str, size: dict[str, int], dark: bool
) -> None:
    olga, name = Operator(browser, console, "olga", language=language, size=size, dark=dark), f"again-{language[:2]}"
    olga.goes_to("/campaigns")
    form = olga.page.locator("form", has=olga.page.locator('input[name="of_campaign"]')).first
    form.locator("xpath=..").locator("summary").click()
    form.locator('[name="name"]').fill(name)
    form.locator('[name="opens"]').fill("2099-01-01T20:00:00+08:00")
    assert faults_of(olga.page) == []
    form.locator("button").click()
    expect(olga.page.locator("#source")).to_contain_text("2099-01-01T20:00:00+08:00")
    expect(olga.page.locator("#said .right")).to_be_visible()
    olga.page.locator('form[action$="/serve"] button').click()
    due = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    later = olga.page.locator('form[action$="/schedule"]')
    later.locator('[name="due"]').fill(due.isoformat(timespec="seconds"))
    later.locator('[name="why"]').fill("for the evening")
    assert faults_of(olga.page) == []
    later.locator("button").click()
    waiting = olga.page.locator("article", has_text="for the evening").filter(has_text=name)
    expect(waiting.locator(".tag.on")).to_be_visible()
    assert faults_of(olga.page) == []
    drafts = Drafts(console.data_dir)
    drafts.write(name, drafts.read(name) + "# more\n")
    while waiting.locator(".tag.bad").count() == 0:
        olga.goes_to("/campaigns")
    expect(waiting.locator(".wrong")).to_be_visible()
    waiting.locator("button").click()
    expect(waiting).to_have_count(0)
    olga.leave()


@BOTH
def test_the_fleet_says_what_a_crowd_needs_against_what_there_is(
    browser: Browser, console: Console, language: str, size: dict[str, int], dark: bool
) -> None:
    vera = Operator(browser, console, "vera", language=language, size=size, dark=dark)
    vera.goes_to("/fleet")
    vera.page.fill('[name="people"]', "1,000,000")
    vera.page.locator('form[action="/fleet"] button').click()
    expect(vera.page.locator("main")).to_contain_text("3,000,000")
    assert vera.page.locator("main").get_by_text(f"Python {platform.python_version()}").count() == 2
    assert faults_of(vera.page) == []
    vera.leave()


def test_a_viewer_is_offered_nothing_to_change(browser: Browser, console: Console) -> None:
    vera = Operator(browser, console, "vera")
    for path in ("/steer", "/waiting", "/proof"):
        vera.goes_to(path)
        assert vera.page.locator("main form[method=post]").count() == 0, path
    assert vera.page.locator('a[href="/people"]').count() == 0
    vera.leave()


@BOTH
@pytest.mark.parametrize("value", ["banana", "-5", ""])
def test_a_value_that_no_switch_takes_is_refused_where_its_form_is(
    browser: Browser, console: Console, language: str, size: dict[str, int], dark: bool, value: str
) -> None:
    olga = Operator(browser, console, "olga", language=language, size=size, dark=dark)
    olga.goes_to("/steer")
    row = olga.page.locator("tr", has=olga.page.locator("code", has_text="release.r1.per_second"))
    row.locator('input[name="value"]').fill("7")
    row.locator('button[value="set"]').click()
    expect(olga.page.locator("#confirming #confirm")).to_be_visible(timeout=PATIENCE_MS)
    row.locator('input[name="value"]').fill(value)
    row.locator('button[value="set"]').click()
    said = olga.page.locator("#confirming #fault [role=alert]")
    expect(said).to_contain_text("release.r1.per_second", timeout=PATIENCE_MS)
    expect(said).to_be_in_viewport(timeout=PATIENCE_MS)
    assert olga.page.locator("#confirm").count() == 0, "what was asked before is no answer to this"
    assert faults_of(olga.page) == []
    row.locator('input[name="value"]').fill("8")
    row.locator('button[value="set"]').click()
    expect(olga.page.locator("#confirming #confirm strong").first).to_have_text("8", timeout=PATIENCE_MS)
    assert olga.page.locator("#fault").count() == 0
    olga.forgets_refusals()
    olga.leave()


@pytest.mark.parametrize("path", ["/steer", "/drafts/edited"])
def test_a_form_after_the_session_is_over_says_so_and_goes_on_after_a_login(
    browser: Browser, console: Console, path: str
) -> None:
    olga = Operator(browser, console, "olga")
    olga.goes_to(path)
    olga.context.clear_cookies()
    if path == "/steer":
        row = olga.page.locator("tr", has=olga.page.locator("code", has_text="release.r1.per_second"))
        row.locator('input[name="value"]').fill("7")
        button, answer = row.locator('button[value="set"]'), "#confirming #confirm"
    else:
        olga.page.fill("#source", "no TOML")
        button, answer = olga.page.locator("#text button"), "#said .wrong"
        expect(olga.page.locator("#fault")).to_contain_text("session is over", timeout=PATIENCE_MS)
        expect(olga.page.locator("#said")).to_be_visible(timeout=PATIENCE_MS)
    button.click()
    expect(olga.page.locator("#fault")).to_contain_text("session is over", timeout=PATIENCE_MS)
    expect(olga.page.locator("#fault")).to_be_focused(timeout=PATIENCE_MS)
    with olga.context.expect_page() as opened:
        olga.page.click("#fault a")
    login = opened.value
    login.fill('[name="name"]', "olga")
    login.fill('[name="password"]', PASSWORD)
    login.click("button.main")
    login.wait_for_selector("header.top")
    assert login.url == olga.url + path
    login.close()
    button.click()
    expect(olga.page.locator(answer).first).to_be_visible(timeout=PATIENCE_MS)
    expect(olga.page.locator("#fault")).to_have_count(0, timeout=PATIENCE_MS)
    olga.forgets_refusals()
    olga.leave()


def test_a_form_that_nothing_answers_says_that_nobody_knows(browser: Browser, console: Console) -> None:
    olga = Operator(browser, console, "olga")
    olga.goes_to("/steer")
    olga.page.route("**/steer/preview", lambda route: route.abort())
    olga.page.locator("article", has_text="calm").locator("button").first.click()
    expect(olga.page.locator("#confirming #fault [role=alert]")).to_contain_text("does not answer", timeout=PATIENCE_MS)
    olga.troubles = [one for one in olga.troubles if "ERR_" not in one and "Failed to fetch" not in one]
    olga.leave()


def test_a_form_without_a_script_leads_through_the_login_back_to_its_page(browser: Browser, console: Console) -> None:
    olga = Operator(browser, console, "olga", scripts=False)
    olga.goes_to("/steer")
    olga.context.clear_cookies()
    olga.page.locator("article", has_text="calm").locator("button").first.click()
    olga.page.fill('[name="name"]', "olga")
    olga.page.fill('[name="password"]', PASSWORD)
    olga.page.click("button.main")
    olga.page.wait_for_selector("#confirming", state="attached")
    assert olga.page.url == f"{olga.url}/steer"
    olga.leave()
