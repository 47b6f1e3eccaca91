"""Money and people at the console, in a real browser, over the files of a sale that nobody serves just now."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from redrush.operate.paying import Books
from redrush.records.sqlite.bills import SqliteBillBook
from tests.browser.axe import faults_of
from tests.browser.test_console import BOTH, Console, Operator
from tests.console.console_world import PASSWORD
from tests.operate.test_refunding import SALE
from tests.operate.test_refunding_part import ORDER, an_order, refunds

pytestmark = pytest.mark.browser

WHY = "a scratch on the box"


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    running = Console(tmp_path_factory.mktemp("sale"), SALE, serves=False)
    SqliteBillBook.open_path(running.data_dir.payments).close()
    an_order(Books(running.data_dir, None))
    yield running
    running.stop()


def is_fine(operator: Operator, width: int) -> None:
    """No rule of accessibility is broken, and nobody has to scroll sideways."""
    assert faults_of(operator.page) == [], operator.page.url
    assert operator.page.evaluate("document.documentElement.scrollWidth") <= width, operator.page.url


@BOTH
def test_a_part_of_a_payment_goes_back_from_the_story_of_who_paid(
    browser: Browser, console: Console, language: str, size: dict[str, int], dark: bool
) -> None:
    books = Books(console.data_dir, None)
    before = len(refunds(books))
    olga = Operator(browser, console, "olga", language=language, size=size, dark=dark)
    olga.goes_to("/story?user=ann")
    is_fine(olga, size["width"])
    olga.page.locator('a[href^="/refund?"]').first.click()
    olga.page.wait_for_selector("article.card")
    expect(olga.page.locator("main")).to_contain_text(str(ORDER.order))
    is_fine(olga, size["width"])
    olga.page.fill('[name="amount"]', "1.20")
    olga.page.locator('form[action="/refund/preview"] button').click()
    olga.page.wait_for_selector(".confirm")
    expect(olga.page.locator(".confirm")).to_contain_text("1.20 CNY")
    is_fine(olga, size["width"])
    assert len(refunds(books)) == before, "a preview gives nothing back"
    olga.page.fill('[name="why"]', WHY)
    olga.page.fill('[name="typed"]', "1.20")
    olga.page.locator("button.danger").click()
    expect(olga.page.locator(".note")).to_contain_text("1.20 CNY")
    expect(olga.page.locator("tbody tr")).to_have_count(before + 1)
    is_fine(olga, size["width"])
    assert len(refunds(books)) == before + 1
    olga.goes_to("/ledger?book=bills")
    expect(olga.page.locator("main")).to_contain_text(f"refund:sale:c:{ORDER.order}/part/{before + 1}#1")
    is_fine(olga, size["width"])
    olga.leave()


@BOTH
def test_who_is_logged_in_for_long_says_again_that_it_is_them(
    browser: Browser, console: Console, language: str, size: dict[str, int], dark: bool
) -> None:
    anna = Operator(browser, console, "anna", language=language, size=size, dark=dark)
    anna.goes_to("/me")  # where nothing is heard all the time
    console.kill()
    file = console.data_dir.root / "console-sessions.json"
    kept = json.loads(file.read_bytes())
    for one in kept["sessions"]:
        one["proved_s"] = 0
    file.write_text(json.dumps(kept))
    console.start()
    name = f"nora-{language}"
    for path in ("/me", "/people"):
        anna.goes_to(path)
        expect(anna.page.locator('form[action="/me/proof"]')).to_be_visible()
        is_fine(anna, size["width"])
    assert anna.page.locator('[name="name"]').count() == 0
    anna.page.fill('[name="password"]', PASSWORD)
    anna.page.locator('form[action="/me/proof"] button').click()
    anna.page.fill('form[action="/people"] [name="name"]', name)
    anna.page.locator('form[action="/people"] button').click()
    expect(anna.page.locator("code.secret")).to_be_visible()
    expect(anna.page.locator("tbody").first).to_contain_text(name)
    is_fine(anna, size["width"])
    anna.forgets_refusals()
    anna.leave()
