"""The participants' page as a gate serves it: from memory, made when the first one opens it."""

from collections.abc import Callable, Mapping
from typing import Final

from redrush.http import answers
from redrush.http.document import Document, Made
from redrush.page.document import Page, hash_of, worker_text
from redrush.page.site import CACHING, WORKER, WORKER_HEADERS, headers_of

HTML: Final = "text/html; charset=utf-8"
JAVASCRIPT: Final = "text/javascript; charset=utf-8"

WORKER_PATH: Final = f"/{WORKER}".encode("ascii")

_AGAIN: Final = "setTimeout(()=>location.reload(),1000)"
"""Not a refresh: to an address with a `#`, behind which the ticket of a link is, that is a move within the page."""
_LOOK: Final = (
    ":root{color-scheme:light dark;font:1.25rem/1.6 system-ui,sans-serif}"
    "p{margin:30vh 1rem;text-align:center;overflow-wrap:anywhere}"
)
_MOMENT: Final = (
    '<!doctype html><html lang="zh"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><title>…</title>'
    f"<style>{_LOOK}</style><script>{_AGAIN}</script>"
    '<noscript><meta http-equiv="refresh" content="1"></noscript>'
    '<p>马上就好，页面会自己打开。<br><span lang="en">Just a moment: this page opens by itself.</span></p>'
)
_MOMENT_POLICY: Final = (
    f"default-src 'none'; script-src '{hash_of(_AGAIN)}'; style-src '{hash_of(_LOOK)}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
MOMENT: Final = answers.answer(
    503,
    _MOMENT.encode(),
    HTML,
    f"Cache-Control: no-store\r\nRetry-After: 1\r\nContent-Security-Policy: {_MOMENT_POLICY}\r\n"
    "Referrer-Policy: no-referrer\r\n",
)
"""What a browser is shown while a campaign is being woken up: it asks again by itself."""


def page_document(make: Callable[[], Page]) -> Document:
    """Return the route of a page."""

    def made() -> Made:
        page = make()
        return Made(page.html, HTML, _lines({"Cache-Control": CACHING, **headers_of(page)}))

    return Document(made)


def worker_document(kept: Callable[[], bool]) -> Document:
    """Return the route of the service worker; `kept`: whether browsers may keep the page."""
    return Document(lambda: Made(worker_text(kept()).encode(), JAVASCRIPT, _lines(WORKER_HEADERS)))


def _lines(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())
