"""The participants' page as a gate serves it: from memory, made when the first one opens it."""

from collections.abc import Callable
from typing import Final

from redrush.http import answers
from redrush.http.document import Document, Made
from redrush.page.document import Page
from redrush.page.site import CACHING, headers_of

HTML: Final = "text/html; charset=utf-8"

_MOMENT: Final = (
    '<!doctype html><html lang="zh"><meta charset="utf-8"><meta http-equiv="refresh" content="1">'
    '<meta name="viewport" content="width=device-width"><title>…</title>'
    "<p>马上就好，页面会自己打开。<br>Just a moment: this page opens by itself.</p>"
)
MOMENT: Final = answers.answer(503, _MOMENT.encode(), HTML, "Cache-Control: no-store\r\nRetry-After: 1\r\n")
"""What a browser is shown while a campaign is being woken up: it asks again by itself."""


def page_document(make: Callable[[], Page]) -> Document:
    """Return the route of a page."""

    def made() -> Made:
        page = make()
        headers = {"Cache-Control": CACHING, **headers_of(page)}
        return Made(page.html, HTML, "".join(f"{name}: {value}\r\n" for name, value in headers.items()))

    return Document(made)
