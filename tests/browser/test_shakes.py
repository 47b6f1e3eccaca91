"""Shakes: allowed, denied, not there; and a button that does the same in every case."""

from typing import Any, Final

import pytest

from tests.browser.conftest import Visit
from tests.browser.event import Event, rush, wait_until
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser

ASKED: Final = """
globalThis.DeviceMotionEvent ??= class extends Event {};
DeviceMotionEvent.requestPermission = async () => {
  globalThis.activeAtAsking = navigator.userActivation.isActive;
  return globalThis.leave;
};
globalThis.leave = "%s";
"""

SHAKE: Final = """() => {
  let at = 0;
  const timer = setInterval(() => {
    const event = new Event("devicemotion");
    event.accelerationIncludingGravity = { x: 26 * (at++ % 2 ? 1 : -1), y: 0, z: 9.8 };
    dispatchEvent(event);
    if (at > 60) clearInterval(timer);
  }, 40);
}"""

PHONE: Final[dict[str, Any]] = {"has_touch": True, "is_mobile": True}


def shaking(event: Event, visit: Visit, leave: str) -> Visitor:
    event.start(rush(release_per_second=100_000), opens_in_s=-60)
    ann = visit("ann", before=[ASKED % leave], **PHONE)
    ann.sees("ready")
    assert ann.claims == [], "who shakes is not asked for by the page"
    ann.act("shake")
    return ann


def test_who_allows_it_shakes_for_a_packet(event: Event, visit: Visit) -> None:
    ann = shaking(event, visit, "granted")
    ann.page.evaluate(SHAKE)
    wait_until(lambda: ann.page.evaluate("activeAtAsking") is True, "leave is asked for in the tap itself")
    ann.sees("sealed", "won")
    assert len(ann.claims) == 1


def test_who_denies_it_has_the_button(event: Event, visit: Visit) -> None:
    ann = shaking(event, visit, "denied")
    wait_until(lambda: "没有得到使用传感器的许可" in ann.text, "it is told")
    assert ann.page.locator('[data-name="shake"]').count() == 0, "and not asked again by itself"
    ann.press()
    ann.sees("sealed")


def test_a_telephone_without_a_sensor_has_the_button_after_a_moment(event: Event, visit: Visit) -> None:
    ann = shaking(event, visit, "granted")
    wait_until(lambda: "没有感觉到摇动" in ann.text, "it is told")
    ann.press()
    ann.sees("sealed")


def test_a_desktop_is_not_offered_what_it_has_not(event: Event, visit: Visit) -> None:
    event.start(rush(release_per_second=100_000), opens_in_s=-60)
    ann = visit("ann")
    ann.sees("ready")
    assert ann.page.locator('[data-name="shake"]').count() == 0
    ann.page.keyboard.press("Space")
    ann.sees("sealed")
