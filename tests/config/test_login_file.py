"""Login files: what they state, and what their writer is told."""

from pathlib import Path

import pytest

from redrush.config.login_file import load_login_file
from redrush.errors import ConfigError
from tests.login.logins import PAGE, login_file

ISSUER = "http://127.0.0.1:9000"
EXAMPLE = Path(__file__).parents[2] / "examples/login/oidc.toml"


def test_the_example_states_what_its_comments_say() -> None:
    file = load_login_file(EXAMPLE)
    assert (file.ticket_lasts_s, file.session_lasts_s) == (7_200, 43_200)
    assert (file.oidc.user, file.oidc.scopes) == ("sub", ("openid",))
    assert file.key == EXAMPLE.parent / "login-company.json"
    assert file.origins == {"https://hongbao.example"}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('user = "sub"', 'user = ""', "login.oidc.user"),
        ('"openid", ', "", 'must have "openid" in it'),
        (ISSUER, "http://id.example", "would send tickets in the clear"),
        (ISSUER, "id.example", "is not an address"),
        (ISSUER, "https://[id.example", "is not an address"),
        (ISSUER, "https://id.example:99999", "is not an address"),
        (PAGE, "http://127.0.0.1:8080", 'needs a path: write "http://127.0.0.1:8080/"'),
        (PAGE, "http://127.0.0.1:8080/#x", "login.pages"),
        ('ticket_lasts = "2h"', 'ticket_lasts = "10s"', "from a minute to 31 days"),
        ('session_lasts = "12h"', 'session_lasts = "long"', "is not a duration"),
        ('{ file = "oidc.secret" }', "{ }", "say where it is"),
        ('{ file = "oidc.secret" }', '{ credential = "../oidc" }', '"../oidc" is no name of a credential'),
        ('client_id = "hongbao"', 'client = "hongbao"', "client"),
    ],
)
def test_a_mistake_is_told_with_its_key(tmp_path: Path, old: str, new: str, told: str) -> None:
    file = login_file(tmp_path, ISSUER)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(ConfigError) as refused:
        load_login_file(file)
    assert told in str(refused.value)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize(
    ("address", "may"),
    [
        (PAGE, True),
        (f"{PAGE}/more?a=1", True),
        (f"{PAGE}er", False),
        ("http://127.0.0.1:8080/", False),
        (f"{PAGE}/../../admin", False),
        (f"{PAGE}/%2e%2e/admin", False),
        (f"https{PAGE[4:]}", False),
        ("http://[x", False),
        ("http://127.0.0.1:99999/", False),
    ],
)
def test_people_are_sent_to_pages_below_those_that_are_named(tmp_path: Path, address: str, may: bool) -> None:
    file = login_file(tmp_path, ISSUER)
    file.write_text(file.read_text().replace(', "http://127.0.0.1:8080/"', ""))
    assert load_login_file(file).may_go_to(address) is may
