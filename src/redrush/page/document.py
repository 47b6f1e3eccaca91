"""The page as one document: everything that is needed for the first paint is in it, pinned by hashes.

A browser asks for nothing else before it has painted: style, script, pictures and data are inline, and the content
security policy names the hash of each, so that nothing else runs. The parts are files beside this module, written by
hand; they are put together here, without comments and indentation, and nothing else is done to them.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from redrush.page.terms import LANGUAGES, PACKET_COLOURS, PageTerms

SCRIPTS: Final = ("turns", "workers", "policy", "clock", "alarms", "net", "memory", "words", "qr", "view", "state",
                  "tabs", "line", "rush", "rules", "calendar", "till", "sending", "shake", "proof", "screens", "person",
                  "sounds", "rounds", "hours", "winnings", "packets", "motion", "outside", "renewal", "keeping",
                  "main")  # fmt: skip
"""Modules of the script, each after those that it needs at once."""

QR_CODES: Final = "vendor/lean-qr-2.7.4.nano.js"
"""What makes QR codes: taken as it is (vendor/SHA256SUMS), a scope of its own with the licence that it asks for."""

_IMPORT: Final = re.compile(r"^import .*?;\n", re.MULTILINE)
_EXPORT: Final = re.compile(r"^export ", re.MULTILINE)
_COMMENT: Final = re.compile(r"^\s*//.*\n", re.MULTILINE)
_INDENT: Final = re.compile(r"^[ ]+|\n(?=\n)", re.MULTILINE)
_ICON: Final = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect x='5' y='2' width='22' height='28' rx='3' "
    "fill='#d9281e'/><circle cx='16' cy='13' r='5' fill='#f8d58a'/></svg>"
)


REHEARSAL: Final = (
    '<p class="banner" id="rehearsal"><span lang="zh-CN">彩排：此处抽中的一律不兑付。</span><br>'
    '<span lang="en">Rehearsal: nothing that is won here is paid.</span></p>\n'
)
"""In both languages, whichever is chosen, and without the script."""


class Page(msgspec.Struct, frozen=True):
    """A document and the content security policy that belongs to it."""

    html: bytes
    policy: str


def page_of(
    content: Mapping[str, Any], terms: PageTerms, *, own: Sequence[str] = (), policy_inside: bool = False
) -> Page:
    """Return the page with this content (`redrush.page.content`). `own` are origins besides its own that it may ask.

    `policy_inside`: the policy stands in the document, too, for servers that set no headers.
    """
    style, theme, script = style_text(), _theme(terms), script_text()
    asked = (*own, terms.renew) if terms.renew is not None and not terms.renew.startswith("/") else own
    policy = _policy((style, theme), script, asked)
    language = terms.language or LANGUAGES[0]
    inside = policy.partition("; frame-ancestors")[0]
    values = {
        "language": language,
        "meta": f'<meta http-equiv="Content-Security-Policy" content="{escape(inside)}">\n' if policy_inside else "",
        "name": escape(terms.title.get(language) or content["name"]),
        "rehearsal": REHEARSAL if content["rehearsal"] else "",
        "theme_color": escape(terms.colours.get("red-deep", "#a8140f")),
        "icon": quote(_ICON, safe=" =:/'"),
        "style": style,
        "theme": theme,
        "scenery": _picture(terms) + _part("art/scenery.svg"),
        "front": _part("art/front.svg"),
        "flap": _part("art/flap.svg"),
        "data": _data(content),
        "script": script,
    }
    html = re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], _part("page.html"))
    return Page(html.encode(), policy)


@cache
def script_text() -> str:
    """Return the page's script: its modules as one."""
    parts = [_EXPORT.sub("", _IMPORT.sub("", _part(f"script/{name}.js"))) for name in SCRIPTS]
    return qr_library() + _INDENT.sub("", _COMMENT.sub("", "".join(parts)))


@cache
def worker_text(kept: bool) -> str:
    """Return the service worker that keeps the page for people without a network; or what takes it away again."""
    return _INDENT.sub("", _COMMENT.sub("", _part(f"worker/{'kept' if kept else 'gone'}.js")))


def qr_library() -> str:
    """Return the function that makes the one that makes QR codes; nothing of it runs before it is called."""
    taken, _, exported = _part(QR_CODES).strip().rpartition("export{")
    [makes] = re.findall(r"(\w+) as generate", exported)
    licence = "/* lean-qr, MIT License, Copyright David Evans */"
    return f"{licence}\nconst qrCodes = () => {{{taken}\nreturn {makes};\n}};\n"


@cache
def style_text() -> str:
    """Return the page's style."""
    return _INDENT.sub("", _part("page.css"))


@cache
def _part(name: str) -> str:
    text = files("redrush.page").joinpath(name).read_text(encoding="utf-8")
    return re.sub(r">\n+\s*<", "><", text).strip() if name.endswith(".svg") else text


def _theme(terms: PageTerms) -> str:
    """Return what of the style is this campaign's; never empty, for its hash is named anyway."""

    def chosen(scheme: str, colours: Mapping[str, str]) -> str:
        lines = "".join(f"--{name}:{colour};" for name, colour in sorted(colours.items()))
        return f"@media(prefers-color-scheme:{scheme}){{:root{{{lines}}}}}"

    packet = {name: colour for name, colour in terms.colours.items() if name in PACKET_COLOURS}
    return chosen("light", terms.colours) + chosen("dark", {**packet, **terms.dark})


def _picture(terms: PageTerms) -> str:
    return "" if terms.picture is None else f'<img class="picture" alt="" src="{escape(terms.picture)}">'


def _data(content: Mapping[str, Any]) -> str:
    """Return JSON that can stand in HTML: nothing in it ends the element, or begins a comment."""
    return msgspec.json.encode(content).decode().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(styles: Sequence[str], script: str, own: Sequence[str]) -> str:
    asked = " ".join(["'self'", *sorted({_origin(url) for url in own})])
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{hash_of(script)}'",
            f"style-src {' '.join(repr(hash_of(style)) for style in styles)}",
            "img-src 'self' data:",
            f"connect-src {asked}",
            "manifest-src 'self'",
            "worker-src 'self' blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "frame-ancestors 'none'",
        )
    )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def hash_of(text: str) -> str:
    """Return the name under which a policy lets this style or script run, without the quotes."""
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"


@cache
def word_names() -> frozenset[str]:
    """Return the names of the page's texts."""
    return frozenset(re.findall(r'^    (\w+): "', _part("script/words.js"), re.MULTILINE))
