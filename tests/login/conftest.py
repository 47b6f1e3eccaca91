"""A provider that runs, and somebody with a browser at a login that asks it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.login.logins import ADDRESS, Browser, browser_at, login_file
from tests.login.provider import Provider, as_it_is


@pytest.fixture(scope="session")
def running() -> Iterator[Provider]:
    provider = Provider(f"{ADDRESS}/back")
    yield provider
    provider.stop()


@pytest.fixture
def provider(running: Provider) -> Provider:
    """The provider of all tests, as it was made."""
    running.spoiled = as_it_is
    running.unsigned = False
    running.email_verified = True
    running.in_id_token = ("email", "email_verified")
    return running


@pytest.fixture
def ann(provider: Provider, tmp_path: Path) -> Iterator[Browser]:
    with browser_at(login_file(tmp_path, provider.issuer), int(time.time())) as browser:
        yield browser
