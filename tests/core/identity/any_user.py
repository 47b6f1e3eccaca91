"""User ids of every kind, for tests that hold for all of them."""

import unicodedata

from hypothesis import strategies as st

NAMES = [
    "alice",
    "alice+vip@example.com",
    "o'brien@example.com",
    "auth0|5f7c1b2a9d",
    "+8613800138000",
    "张伟",
    "🧧🎉",
    "❤️",
    ".hidden",
    'say "hi"'.replace(" ", "\u00b7"),
    "a~b%41&c=d?e#f/g\\h",
    "张" * 85,
    "x" * 256,
]
"""What real systems call their users, and what breaks careless ones."""

USERS = st.one_of(
    st.sampled_from(NAMES),
    st.from_regex(r"[A-Za-z0-9_.:@-]{1,64}", fullmatch=True),
    st.from_regex(r"[!-~]{1,256}", fullmatch=True),
    st.text("张伟é🧧ß~%|'+./\\\"", min_size=1, max_size=60).map(lambda text: unicodedata.normalize("NFC", text)),
)
