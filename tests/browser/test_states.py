"""Every state of the page, as everybody can use it: no violation that axe-core knows, large text, less motion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.browser.axe import faults, is_whole
from tests.browser.conftest import Visit
from tests.browser.event import QUICK, Event, rush
from tests.browser.visitor import DESKTOP, PHONE, Visitor

pytestmark = pytest.mark.browser


def nobody(event: Event, visit: Visit, **how: Any) -> Visitor:
    event.start(opens_in_s=600)
    return visit(None, **how)


def before(event: Event, visit: Visit, **how: Any) -> Visitor:
    event.start(rush(), rush("r2", 3_600), opens_in_s=600)
    return visit("ann", **how)


def expired(event: Event, visit: Visit, **how: Any) -> Visitor:
    event.start(tables=f'{QUICK}[page]\nlogin = "https://login.example/"\n', opens_in_s=600)
    return visit("ann", ticket=event.ticket("ann", lasts_s=-5), **how)


def sealed(event: Event, visit: Visit, **how: Any) -> Visitor:
    event.start(opens_in_s=-60)
    return visit("ann", **how)


def won(event: Event, visit: Visit, **how: Any) -> Visitor:
    tables = f'{QUICK}[group]\npay = "balance"\n'
    event.start(rush(total="12345678.00", packets=1), rush("r2", 3_600), tables=tables, opens_in_s=-60)
    event.grab("ann")
    return visit("ann", **how)


def empty(event: Event, visit: Visit, **how: Any) -> Visitor:
    event.start(rush(packets=1), opens_in_s=-60)
    event.grab("bob")
    return visit("ann", **how)


def closed(event: Event, visit: Visit, **how: Any) -> Visitor:
    event.start(opens_in_s=-7_200)
    return visit("ann", **how)


def not_eligible(event: Event, visit: Visit, **how: Any) -> Visitor:
    event.directory.parent.joinpath("users.txt").write_text("bob\n")
    event.start(head='audience = "users.txt"\n', opens_in_s=-60)
    return visit("ann", **how)


def ready(event: Event, visit: Visit, **how: Any) -> Visitor:
    event.start(rush(release_per_second=1), opens_in_s=-60)
    return visit("ann", **how)


def waiting(event: Event, visit: Visit, **how: Any) -> Visitor:
    event.start(opens_in_s=600)
    ann = visit("ann", **how)
    ann.sees("before")
    ann.opens_in(2)
    busy = {"status": 503, "content_type": "application/problem+json", "body": "{}"}
    ann.page.route("**/grab", lambda route: route.fulfill(**busy))
    return ann


def unreached(event: Event, visit: Visit, **how: Any) -> Visitor:
    event.start(opens_in_s=600)
    ann = visit("ann", opened=False, **how)
    ann.page.route("**/state/*", lambda route: route.abort())
    ann.page.goto(ann.address)
    return ann


STATES: Final[list[Callable[..., Visitor]]] = [
    nobody, before, expired, sealed, won, empty, closed, not_eligible, ready, waiting, unreached,
]  # fmt: skip


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_a_state_is_kind_whole_and_without_a_fault_in_both_languages_and_both_lights(
    event: Event, visit: Visit, state: Callable[..., Visitor]
) -> None:
    someone = state(event, visit)
    someone.sees(state.__name__)
    is_whole(someone)
    someone.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert faults(someone) == []


@pytest.mark.parametrize("size", [PHONE, DESKTOP, {"width": 320, "height": 568}], ids=["phone", "desktop", "small"])
@pytest.mark.parametrize("state", [before, won], ids=lambda state: state.__name__)
def test_text_of_twice_the_size_is_all_there(
    event: Event, visit: Visit, state: Callable[..., Visitor], size: dict[str, int]
) -> None:
    someone = state(event, visit, size=size)
    someone.sees(state.__name__)
    someone.page.evaluate("document.documentElement.style.fontSize = '200%'")
    wide, cut = someone.page.evaluate("""() => [
      document.documentElement.scrollWidth - innerWidth,
      [...document.querySelectorAll('h1, h2, .panel p, .panel button, .hero, .count, summary, li')]
        .filter((one) => one.checkVisibility() && one.scrollWidth > one.clientWidth + 1)
        .map((one) => one.id || one.textContent),
    ]""")
    assert wide <= 0
    assert cut == []


def test_with_less_motion_nothing_moves(event: Event, visit: Visit) -> None:
    ann = sealed(event, visit, reduced_motion="reduce")
    ann.sees("sealed")
    ann.press()
    ann.sees("won")
    assert ann.page.evaluate("document.getAnimations().length") == 0
    assert ann.page.locator("#confetti i").count() == 0


def test_the_ceremony_is_short_and_a_tap_ends_it(event: Event, visit: Visit) -> None:
    ann = sealed(event, visit)
    ann.sees("sealed")
    ann.page.evaluate("document.getElementById('go').click()")
    ann.page.locator("#confetti i").first.wait_for(state="attached")
    ann.page.mouse.click(10, 700)
    assert ann.page.locator("#confetti i").count() == 0
    longest = ann.page.evaluate("""() => Math.max(...document.getAnimations()
      .map((one) => one.effect.getComputedTiming()).filter((one) => one.iterations === 1).map((one) => one.endTime))""")
    assert longest <= 1_300


def test_forced_colours_leave_everything_to_be_seen(event: Event, visit: Visit) -> None:
    ann = before(event, visit, forced_colors="active")
    ann.sees("before")
    assert ann.page.locator("#timer").is_visible()
    assert ann.page.locator("#go").is_visible()
    assert not ann.page.locator(".sky").is_visible()
    assert faults(ann) == []


def test_all_of_it_goes_by_keyboard(event: Event, visit: Visit) -> None:
    ann = sealed(event, visit)
    ann.sees("sealed")
    ann.page.keyboard.press("Tab")
    assert ann.page.evaluate("document.activeElement.id") == "skip"
    for _ in range(8):
        ann.page.keyboard.press("Tab")
        if ann.page.evaluate("document.activeElement.id") == "go":
            break
    ann.page.keyboard.press("Enter")
    ann.sees("won")


THEMES: Final = sorted((Path(__file__).parents[2] / "examples/themes").glob("*.toml"))


@pytest.mark.parametrize("theme", THEMES, ids=lambda path: path.stem)
def test_the_themes_of_the_examples_can_be_read_by_day_and_by_night(event: Event, visit: Visit, theme: Path) -> None:
    event.serve(theme, "2027-01-01T12:00:00Z")
    someone = visit("ann")
    someone.sees("before")
    for scheme in ("light", "dark"):
        someone.page.emulate_media(color_scheme=scheme)
        assert faults(someone) == [], scheme
    size = someone.page.evaluate("performance.getEntriesByType('navigation')[0].encodedBodySize")
    assert size < 50_000
