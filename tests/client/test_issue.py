"""Tickets of a company's login: what it signs is what a gate takes, in every language that we show."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from redrush.client.issue import Issuer
from redrush.control.data_dir import DataDir
from redrush.control.keys import add_login_key, load_keys, load_or_create_keys, remove_login_key
from redrush.core.identity.tickets import KeyRing, TicketVerifier, sign_ticket
from redrush.errors import ConfigError

VECTORS = json.loads((Path(__file__).parents[2] / "docs/how-to/ticket-vectors.json").read_text(encoding="utf-8"))
KEY = base64.b64decode(VECTORS["key"])
RING = KeyRing("k1", {"k1": bytes(32)}, {VECTORS["key_id"]: KEY})


@pytest.mark.parametrize("vector", VECTORS["tickets"], ids=lambda vector: ascii(vector["user"]))
def test_a_login_signs_what_the_vectors_say_and_a_gate_takes_it(vector: dict[str, str | int]) -> None:
    user, expires_s, ticket = str(vector["user"]), int(vector["expires"]), str(vector["ticket"])
    assert Issuer(VECTORS["key_id"], KEY).ticket_until(user, expires_s) == ticket
    body = f"{VECTORS['key_id']}.{expires_s:x}.{quote(user, safe='_.:@-')}"
    assert ticket == f"{body}.{hmac.new(KEY, body.encode(), hashlib.sha256).hexdigest()[:32]}"
    seen = TicketVerifier(RING).verify(ticket.encode())
    assert seen is not None
    assert (seen.user, seen.expires_s) == (user, expires_s)


def test_a_login_makes_no_proven_ticket_and_its_key_no_ticket_of_ours() -> None:
    ticket = Issuer("company", KEY).ticket_until("alice", 1_900_000_000)
    assert TicketVerifier(RING, plain=False).verify(ticket.encode()) is None
    marked = ticket.replace("company.", "company+.")
    assert TicketVerifier(RING).verify(marked.encode()) is None
    ours = sign_ticket(KeyRing("company", {"company": KEY}), "alice", 1_900_000_000)
    assert TicketVerifier(RING).verify(ours.encode()) is None


@pytest.mark.parametrize("at", range(-40, 0))
def test_no_sign_of_a_ticket_can_change(at: int) -> None:
    ticket = Issuer("company", KEY).ticket_until("alice", 1_900_000_000)
    changed = "0" if ticket[at] != "0" else "1"
    assert TicketVerifier(RING).verify(f"{ticket[:at]}{changed}{ticket[at + 1 :] if at != -1 else ''}".encode()) is None


def test_a_key_is_added_once_kept_and_removed(tmp_path: Path) -> None:
    directory = DataDir(tmp_path)
    before = load_or_create_keys(directory)
    key = add_login_key(directory, "company")
    after = load_keys(directory)
    assert (after.tickets.logins, after.receipts, after.tickets.keys) == (
        {"company": key}, before.receipts, before.tickets.keys,
    )  # fmt: skip
    for wrong in ("company", "k1", "no id"):
        with pytest.raises(ConfigError):
            add_login_key(directory, wrong)
    assert load_keys(directory) == after
    remove_login_key(directory, "company")
    assert load_keys(directory) == before
    with pytest.raises(ConfigError, match="there are: none"):
        remove_login_key(directory, "company")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not a login key"),
        ('{"id": "c", "key": "AAAA"}', "is 32 bytes long, this one 3"),
        ('{"id": "c", "key": "?"}', "is not a login key"),
        (json.dumps({"id": "c d", "key": VECTORS["key"]}), "is not a key id"),
        (json.dumps({"id": "c", "key": VECTORS["key"], "algorithm": "none"}), 'its algorithm is "none"'),
    ],
)
def test_a_file_that_is_no_login_key_is_told(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "key.json").write_text(content)
    with pytest.raises(ConfigError, match=words):
        Issuer.from_file(tmp_path / "key.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        Issuer.from_file(tmp_path / "missing.json")
