"""axe-core on a page as it stands: in both languages, by day and by night."""

import gzip
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page

from tests.browser.visitor import Visitor

AXE: Final = gzip.decompress(Path(__file__).with_name("axe.min.js.gz").read_bytes()).decode()
"""axe-core 4.14.1 by Deque Systems, MPL-2.0, as it is in the npm registry."""

FAULTS: Final = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  const told = ({ target, failureSummary }) => [target.join(" "), failureSummary];
  return violations.map(({ id, nodes }) => [id, nodes.map(told)]);
}"""

SETTLED: Final = """() => document.getAnimations().forEach((one) => {
  try { one.finish(); } catch { one.cancel(); }  // one that goes on for ever has no end
})"""

NOT_WORDS: Final = ("undefined", "null", "NaN", "{", "_line")
"""What stands on no page whose texts are all there."""


def faults_of(page: Page) -> list[Any]:
    """Return what axe-core finds on the page as it stands; it is put there past the page's own policy."""
    if not page.evaluate("() => typeof axe === 'object'"):
        page.evaluate(AXE)
    return page.evaluate(FAULTS)  # type: ignore[no-any-return]


def faults(visitor: Visitor) -> list[Any]:
    """Return what axe-core finds on the page of the event as it stands."""
    # What fades in is judged as it is when it is there.
    visitor.page.evaluate(SETTLED)
    return faults_of(visitor.page)


def is_whole(visitor: Visitor) -> None:
    """Fail unless the page, as it stands, has no fault and all its words, in both languages and both lights. It is as
    it was then."""
    for dark in (False, True):
        visitor.page.emulate_media(color_scheme="dark" if dark else "light")
        for _ in range(2):
            assert faults(visitor) == [], (visitor.screen, dark, visitor.page.get_attribute("html", "lang"))
            for text in NOT_WORDS:
                assert text not in visitor.text, (visitor.screen, text)
            visitor.page.click("#language")
    visitor.page.emulate_media(color_scheme="light")
