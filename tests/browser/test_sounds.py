"""What is heard: nothing before a touch, at the moments that the campaign says, never where somebody wants peace."""

import json
from pathlib import Path
from typing import Final

import pytest

from tests.browser.axe import is_whole
from tests.browser.conftest import Visit
from tests.browser.event import QUICK, Event, rush, wait_until
from tests.browser.kinds import SOUNDS, draw, gong
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser

TUNES: Final = QUICK + SOUNDS
HEARD: Final = """window.heard = []; window.made = 0;
const Real = window.AudioContext;
window.AudioContext = class extends Real { constructor() { super(); window.made += 1; window.audio = this; } };
for (const [node, what] of [
  [OscillatorNode, (note) => note.frequency.value], [AudioBufferSourceNode, (file) => file.buffer.duration],
]) node.prototype.start = new Proxy(node.prototype.start, {
  apply(start, one, given) { window.heard.push(what(one)); return Reflect.apply(start, one, given); } });"""
"""Notes the hertz of each note, and how many seconds each file has, as the browser is told to let them be heard."""
OPENING, WON, MISSED = [523, 1046, 784, 1568, 1047, 2094], 14, [659, 1318, 523, 1046]


def heard(visitor: Visitor) -> list[float]:
    found: list[float] = visitor.page.evaluate("window.heard")
    return found


def test_the_opening_is_heard_by_whoever_has_touched_the_page(event: Event, visit: Visit) -> None:
    event.start(tables=TUNES, opens_in_s=600)
    ann, bob = visit("ann", before=[HEARD]), visit("bob", before=[HEARD])
    for someone in (ann, bob):
        someone.sees("before")
    ann.page.click("#headline")
    wait_until(lambda: ann.page.evaluate("window.made") == 1, "a touch has made it ready")
    event.opens_in(1)
    for someone in (ann, bob):
        someone.page.evaluate("dispatchEvent(new Event('focus'))")
        someone.sees("sealed")
    wait_until(lambda: heard(ann) == OPENING, "the tune of the opening")
    assert (heard(bob), bob.page.evaluate("window.made")) == ([], 0)


def test_what_was_won_is_heard_when_it_is_opened_though_that_is_the_first_touch(event: Event, visit: Visit) -> None:
    event.start(tables=TUNES, opens_in_s=-60)
    ann = visit("ann", before=[HEARD])
    ann.sees("sealed")
    assert ann.page.evaluate("window.made") == 0
    ann.press()
    ann.sees("won")
    wait_until(lambda: len(heard(ann)) == WON, "the tune of a win")
    wait_until(lambda: ann.page.evaluate("window.audio.state") == "suspended", "and then it rests")
    is_whole(ann)
    assert len(heard(ann)) == WON
    ann.page.reload()
    ann.sees("won")
    ann.page.click("#headline")
    assert heard(ann) == [], "what is known already is not told again"


def test_sounds_are_turned_off_at_once_and_for_good_and_on_again(event: Event, visit: Visit) -> None:
    event.start(draw("1/1000000"), tables=TUNES, opens_in_s=-60)
    ann = visit("ann", before=[HEARD])
    ann.sees("ready")
    switch = ann.page.get_by_role("switch", name="声音")
    assert switch.get_attribute("aria-checked") == "true"
    switch.click()
    for again in (False, True):
        if again:
            ann.page.reload()
            ann.sees("ready")
        assert switch.get_attribute("aria-checked") == "false"
        ann.press()
        ann.sees("again")
        assert (heard(ann), ann.page.evaluate("window.made")) == ([], 0)
    ann.page.click("#language")
    ann.page.get_by_role("switch", name="Sound").click()
    wait_until(lambda: len(heard(ann)) == WON, "what is turned on is heard")
    ann.press()
    ann.sees("played")
    wait_until(lambda: heard(ann)[WON:] == MISSED, "the tune of a miss")


@pytest.mark.parametrize("less", [{"reduced_motion": "reduce"}, {"before": "saveData"}], ids=["motion", "data"])
def test_who_wants_less_is_left_in_peace_until_they_turn_sounds_on(
    event: Event, visit: Visit, less: dict[str, str]
) -> None:
    event.start(tables=TUNES, opens_in_s=-60)
    saves = "Object.defineProperty(navigator, 'connection', { value: { saveData: true } });"
    before = [HEARD, saves] if less.get("before") else [HEARD]
    ann = visit("ann", **less | {"before": before})
    ann.sees("sealed")
    assert ann.page.get_attribute("#sound", "aria-checked") == "false"
    ann.press()
    ann.sees("won")
    assert (heard(ann), ann.page.evaluate("window.made")) == ([], 0)
    ann.page.click("#sound")
    wait_until(lambda: len(heard(ann)) == WON, "they have asked for it")


def test_a_page_whose_campaign_has_no_sounds_offers_none(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=-60)
    ann = visit("ann", before=[HEARD])
    ann.sees("sealed")
    assert not ann.page.locator("#sound").is_visible()
    ann.press()
    ann.sees("won")
    assert ann.page.evaluate("window.made") == 0


FAULTS: Final = {"none": "throw new Error('no device')", "strange": "this.resume = () => { throw 0; }"}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_where_nothing_can_be_heard_everything_else_goes_on(event: Event, visit: Visit, fault: str) -> None:
    event.start(tables=TUNES, opens_in_s=-60)
    ann = visit("ann", before=[f"window.AudioContext = function () {{ {fault}; }};"])
    ann.sees("sealed")
    ann.press()
    ann.sees("won")


def test_a_file_of_the_campaign_is_fetched_in_calm_by_its_hash_and_changed_while_the_event_runs(
    event: Event, visit: Visit, tmp_path: Path
) -> None:
    (tmp_path / "gong.wav").write_bytes(gong())
    event.start(rush(), tables=f'{QUICK}[page.sounds]\nwon = "gong.wav"\n', opens_in_s=600)
    ann = visit("ann", before=[HEARD, "Math.random = () => 0.01;"])
    ann.sees("before")
    assert [one for one in ann.requests if "/sounds/" in one.url] == []
    with ann.page.expect_response("**/sounds/**") as fetched:
        ann.page.click("#headline")
    assert fetched.value.body() == gong()
    assert fetched.value.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert fetched.value.headers["content-type"] == "audio/wav"
    ann.opens_in(1)
    ann.sees("sealed")
    ann.press()
    ann.sees("won")
    wait_until(lambda: heard(ann) == [0.5], "the campaign's own")
    (tmp_path / "gong.wav").write_bytes(gong(0.25))
    event.redrush("campaign", "change", event.file, "--data", event.directory, "--yes")
    wait_until(lambda: fetched.value.url.rpartition("/")[2] not in event.text("/"), "the page has another one")
    told = json.loads(event.text("/").partition('id="redrush">')[2].partition("</script>")[0])
    path = told["page"]["sounds"]["won"][0]
    assert ann.page.request.get(event.url + path).body() == gong(0.25)
    assert ann.page.request.get(fetched.value.url).status == 404


def test_at_an_opening_no_file_is_fetched_and_the_tune_stands_in(event: Event, visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "gong.wav").write_bytes(gong())
    event.start(rush(), tables=f'{QUICK}[page.sounds]\nwon = "gong.wav"\n', opens_in_s=30)
    ann = visit("ann", before=[HEARD, "Math.random = () => 0.01;"])
    ann.sees("before")
    ann.page.click("#headline")
    wait_until(lambda: ann.page.evaluate("window.made") == 1, "a touch has made it ready")
    ann.opens_in(1)
    ann.sees("sealed")
    ann.press()
    ann.sees("won")
    wait_until(lambda: len(heard(ann)) == WON, "the tune")
    assert [one for one in ann.requests if "/sounds/" in one.url] == []
