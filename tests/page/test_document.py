"""The page as a document: small, whole, pinned by hashes, in two languages, and made of nothing that people wrote."""

import base64
import gzip
import json
import re
from hashlib import sha256
from importlib.resources import files

import pytest

from redrush.core.load.client_policy import ClientPolicy
from redrush.core.rush.campaign import Campaign, Kind, Leftover, Round, Slots
from redrush.page.content import content_of
from redrush.page.document import QR_CODES, SCRIPTS, Page, page_of, script_text, word_names, worker_text
from redrush.page.terms import PageTerms

ROUND = Round(
    id="r20",
    opens_us=1_800_000_000_000_000,
    closes_us=1_800_000_060_000_000,
    kind=Kind.LUCKY,
    total_minor=500_000,
    min_minor=50,
    max_minor=20_000,
    slots=Slots(0, 1_000),
    leftover=Leftover.RETURN,
)
CAMPAIGN = Campaign(id="spring", name="春节红包", currency="CNY", rounds=(ROUND,), timezone="Asia/Shanghai")
COMPRESSED_BYTES_MAX = 50_000


def page(terms: PageTerms = PageTerms(), name: str = "春节红包") -> Page:  # noqa: B008 - frozen
    campaign = Campaign(id="spring", name=name, currency="CNY", rounds=(ROUND,), timezone="Asia/Shanghai")
    return page_of(content_of(campaign, ClientPolicy(), terms), terms)


def test_all_of_the_page_is_below_fifty_kilobytes() -> None:
    assert len(gzip.compress(page().html)) + len(gzip.compress(worker_text(True).encode())) < COMPRESSED_BYTES_MAX


def test_every_style_and_script_in_it_is_named_by_its_hash_and_nothing_else_may_run() -> None:
    made = page(PageTerms(colours={"red": "#123456"}))
    html = made.html.decode()
    for kind, found in (
        ("style-src", re.findall(r"<style>(.*?)</style>", html, re.DOTALL)),
        ("script-src", re.findall(r'<script type="module">(.*?)</script>', html, re.DOTALL)),
    ):
        hashes = [f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'" for text in found]
        [directive] = [one for one in made.policy.split("; ") if one.startswith(kind)]
        assert directive.split() == [kind, *hashes]
    assert "unsafe" not in made.policy
    assert " style=" not in html
    assert not re.search(r"\son\w+=", html.partition("<script")[0])


def test_no_two_modules_of_the_script_have_the_same_name_for_something() -> None:
    """They become one module, in which that would be an error of the whole page."""
    told = re.compile(r"^(?:export )?(?:async )?(?:const|let|class|function) (\w+)", re.MULTILINE)
    folder = files("redrush.page").joinpath("script")
    names = [name for module in SCRIPTS for name in told.findall(folder.joinpath(f"{module}.js").read_text())]
    assert len(names) > 50
    assert {name for name in names if names.count(name) > 1} == set()


def test_the_document_asks_for_nothing_else() -> None:
    html = page().html.decode()
    assert not re.findall(r'(?:src|href)="(?!#|data:)([^"]+)"', html)
    assert "url(" not in html
    assert "@import" not in html


@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>", '"><img src=x>', "<!--", "a & b"])
def test_what_people_write_is_text_and_nothing_else(name: str) -> None:
    html = page(PageTerms(greeting={"zh": name}), name=name).html.decode()
    assert html.count("</script>") == 2
    assert "<img" not in html
    data = re.search(r'id="redrush">(.*?)</script>', html, re.DOTALL)
    assert data is not None
    told = json.loads(data[1])
    assert (told["name"], told["page"]["greeting"]["zh"]) == (name, name)


def test_both_languages_have_the_same_texts_with_the_same_values() -> None:
    words = re.search(r"const WORDS = \{\nzh: \{(.*?)\n\},\nen: \{(.*?)\n\},\n\};", script_text(), re.DOTALL)
    assert words is not None
    zh, en = (dict(re.findall(r'^(\w+): "(.*)",$', part, re.MULTILINE)) for part in words.groups())
    assert set(zh) == set(en) == word_names()
    assert len(zh) > 80
    for name, text in zh.items():
        assert set(re.findall(r"\{(\w+)\}", text)) == set(re.findall(r"\{(\w+)\}", en[name])), name


def test_every_text_is_said_somewhere() -> None:
    script = script_text()
    spoken = script.partition("class Speech")[2]
    built = ("coin_", "go_", "left_", "shake_")
    unsaid = [
        name
        for name in word_names()
        if f'"{name}"' not in spoken
        and not name.startswith(built)
        and not re.search(rf"\b{re.sub('_line(_no_login)?$', '', name)}\b", spoken)
    ]
    assert not unsaid


def test_amounts_on_the_page_are_text_and_exact() -> None:
    [told] = content_of(CAMPAIGN, ClientPolicy(), PageTerms())["rounds"]
    assert (told["total"], told["min"], told["max"], told["packets"]) == ("5000.00", "0.50", "200.00", 1_000)


def test_each_language_is_spoken_in_its_own_signs() -> None:
    words = re.search(r"const WORDS = \{\nzh: \{(.*?)\n\},\nen: \{(.*?)\n\},\n\};", script_text(), re.DOTALL)
    assert words is not None
    zh, en = (dict(re.findall(r'^(\w+): "(.*)",$', part, re.MULTILINE)) for part in words.groups())
    chinese = re.compile(r"[\u4e00-\u9fff]")
    assert [name for name, text in zh.items() if not chinese.search(text)] == ["language"]
    assert [name for name, text in en.items() if chinese.search(text)] == ["language"]


def test_what_a_server_says_to_engineers_is_shown_to_nobody() -> None:
    """The details of its refusals are English: the page has words of its own for each."""
    assert "detail" not in script_text().partition("class Speech")[2]


def test_dates_and_amounts_are_told_without_the_browsers_formats() -> None:
    """The first that it makes keeps a slow telephone busy for a tenth of a second, at the opening."""
    assert not re.findall(r"\bIntl\b|toLocale", script_text())
    told = content_of(CAMPAIGN, ClientPolicy(), PageTerms())
    assert (told["sign"], [minutes for _, minutes in told["clocks"]]) == ("¥", [480])


def test_what_makes_qr_codes_is_what_was_taken() -> None:
    vendor = files("redrush.page").joinpath("vendor")
    [line] = vendor.joinpath("SHA256SUMS").read_text().splitlines()
    digest, name = line.split()
    assert f"vendor/{name}" == QR_CODES
    assert sha256(vendor.joinpath(name).read_bytes()).hexdigest() == digest
    assert "MIT License" in vendor.joinpath("LICENSE.lean-qr").read_text()
