"""The participants' page as a gate serves it: from memory, made when the first one opens it."""

from collections.abc import Callable, Mapping
from typing import Final

from redrush.http import answers
from redrush.http.document import Document, Made
from redrush.page.document import Page, hash_of, worker_text
from redrush.page.site import CACHING, WORKER, WORKER_HEADERS, headers_of
from redrush.page.sounds import SOUND_HEADERS, SoundFile

HTML: Final = "text/html; charset=utf-8"
JAVASCRIPT: Final = "text/javascript; charset=utf-8"

WORKER_PATH: Final = f"/{WORKER}".encode("ascii")

_LOOK: Final = (
    ":root{color-scheme:light dark;font:1.25rem/1.6 system-ui,sans-serif}"
    "p{margin:30vh 1rem;text-align:center;overflow-wrap:anywhere}"
)
_AGAIN: Final = "setTimeout(()=>location.reload(),1000)"
"""Not a refresh: to an address with a `#`, behind which the ticket of a link is, that is a move within the page."""


def _plain_page(status: int, chinese: str, english: str, headers: str, script: str) -> bytes:
    """Return an answer for people where there is no page of a campaign: it asks for nothing, and runs this alone."""
    text = (
        '<!doctype html><html lang="zh"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><title>…</title>'
        f"<style>{_LOOK}</style><script>{script}</script>"
        + ('<noscript><meta http-equiv="refresh" content="1"></noscript>' if script else "")
        + f'<p>{chinese}<br><span lang="en">{english}</span></p>'
    )
    policy = (
        f"default-src 'none'; script-src '{hash_of(script)}'; style-src '{hash_of(_LOOK)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    lines = f"Cache-Control: no-store\r\nContent-Security-Policy: {policy}\r\nReferrer-Policy: no-referrer\r\n"
    return answers.answer(status, text.encode(), HTML, lines + headers)


MOMENT: Final = _plain_page(
    503, "马上就好，页面会自己打开。", "Just a moment: this page opens by itself.", "Retry-After: 1\r\n", _AGAIN
)
"""What a browser is shown while a campaign is being woken up: it asks again by itself."""

NO_CAMPAIGN: Final = _plain_page(
    404,
    "这个链接没有对应的活动，可能没有复制完整。请再看一下链接。",
    "There is no event at this link; it may have been cut short. Please look at it again.",
    "",
    "",
)
"""What a browser is shown under an address of no campaign."""


def page_document(make: Callable[[], Page]) -> Document:
    """Return the route of a page."""

    def made() -> Made:
        page = make()
        return Made(page.html, HTML, _lines({"Cache-Control": CACHING, **headers_of(page)}))

    return Document(made)


def worker_document(kept: Callable[[], bool]) -> Document:
    """Return the route of the service worker; `kept`: whether browsers may keep the page."""
    return Document(lambda: Made(worker_text(kept()).encode(), JAVASCRIPT, _lines(WORKER_HEADERS)))


def sound_document(file: SoundFile) -> Document:
    """Return the route of a sound of the page."""
    return Document(lambda: Made(file.body, file.content_type, _lines(SOUND_HEADERS)))


def _lines(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())
