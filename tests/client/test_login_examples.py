"""The programs of examples/login sign what the vectors say, each in its language."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPConnection
from pathlib import Path

import pytest

from redrush.core.identity.tickets import TicketVerifier
from redrush.processes.loopback import free_port
from tests.client.test_issue import RING
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "docs/how-to/ticket-vectors.json").read_text(encoding="utf-8"))
LOGIN = ROOT / "examples/login"

PROGRAMS = {
    "node": ("ticket.mjs", "nodejs"),
    "go": ("ticket.go", "golang-go"),
    "java": ("Ticket.java", "default-jdk-headless"),
}
"""The program in each language, and the Debian package that runs it."""


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "login-company.json"
    path.write_text(json.dumps({"id": VECTORS["key_id"], "key": VECTORS["key"]}))
    return path


@pytest.mark.peers
@pytest.mark.parametrize("language", PROGRAMS)
def test_an_example_in_another_language_signs_what_the_vectors_say(language: str, key_file: Path) -> None:
    program, package = PROGRAMS[language]
    assert shutil.which(language), f"{language} is missing: apt-get install {package}"
    run = [language, "run"] if language == "go" else [language]
    key = [VECTORS["key_id"], VECTORS["key"]] if language == "java" else [str(key_file)]
    for vector in VECTORS["tickets"]:
        words = [*run, str(LOGIN / program), *key, vector["user"], str(vector["expires"])]
        done = subprocess.run(words, capture_output=True, check=False, encoding="utf-8", env=_in_utf8())
        assert (done.returncode, done.stdout.strip()) == (0, vector["ticket"]), done.stderr


def _in_utf8() -> dict[str, str]:
    return os.environ | {"LC_ALL": "C.UTF-8", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}


def test_the_endpoint_gives_a_ticket_to_who_is_logged_in_and_to_nobody_else(key_file: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "fastapi_login:app", "--port", str(port), "--log-level", "error"]
    login = subprocess.Popen(command, cwd=LOGIN, env=os.environ | {"REDRUSH_LOGIN_KEY": str(key_file)})
    try:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            _ask(port, {})
        seen = TicketVerifier(RING).verify(_ask(port, {"X-Employee": "alice"})["ticket"].encode())
    finally:
        login.terminate()
        login.wait()
    assert seen is not None
    assert seen.user == "alice"
    assert 7_100 < seen.expires_s - time.time() <= 7_200


def _ask(port: int, headers: dict[str, str]) -> dict[str, str]:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/redrush-ticket", headers=headers)
            with urllib.request.urlopen(request, timeout=5) as answer:
                found: dict[str, str] = json.load(answer)
                return found
        except urllib.error.HTTPError:
            raise
        except OSError:
            assert time.monotonic() < deadline_s, "the login did not come up"
            time.sleep(0.05)


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "uvicorn", "fastapi_login:app", "--log-level", "error", "--port"],
        ["-m", "flask", "--app", "flask_login", "run", "--port"],
        ["django_login.py", "runserver", "--noreload", "--verbosity", "0"],
    ],
    ids=["fastapi", "flask", "django"],
)
def test_who_is_logged_in_is_sent_to_the_page_with_a_ticket_where_nobody_logs_it(
    command: list[str], key_file: Path
) -> None:
    port = free_port()
    environ = os.environ | {"REDRUSH_LOGIN_KEY": str(key_file), "REDRUSH_PAGE": "https://hongbao.example/"}
    login = subprocess.Popen(
        [sys.executable, *command, str(port)],
        cwd=LOGIN,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert _sent_to(port, {})[0] == 401
        status, address = _sent_to(port, {"X-Employee": "zhang.wei+1"})
    finally:
        login.terminate()
        login.wait()
    page, _, fragment = address.partition("#ticket=")
    seen = TicketVerifier(RING).verify(urllib.parse.unquote(fragment).encode())
    assert (status in {302, 303}, page) == (True, "https://hongbao.example/")
    assert seen is not None
    assert seen.user == "zhang.wei+1"


def _sent_to(port: int, headers: dict[str, str]) -> tuple[int, str]:
    """Return the status, and where one is sent."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/redrush", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("Location", "")
        except OSError:
            assert time.monotonic() < deadline_s, "the login did not come up"
            time.sleep(0.05)
        finally:
            connection.close()
