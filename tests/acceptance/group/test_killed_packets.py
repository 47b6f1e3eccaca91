"""`kill -9` in every gap of a packet's life: what was acknowledged is there, paid and given back once, to the cent."""

import http.client
import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from redrush.control.data_dir import DataDir
from redrush.control.issuing import plan_tickets
from redrush.operate.data_dir_reports import reconcile_data_dir
from tests.acceptance.group.dying import POINTS
from tests.patience import PATIENCE_S
from tests.wiring.group_world import text

PACKETS = 5
WON = Decimal("100.00")
USERS = ("ann", "bob", "carl")


class Server:
    """A serving process, and tickets for it."""

    def __init__(self, directory: Path, plan: tuple[str, int] | None) -> None:
        module = ["redrush"] if plan is None else ["tests.acceptance.group.dying", plan[0], str(plan[1])]
        self._data = directory / "data"
        served = ["serve", str(directory / "c.toml"), "--data", str(self._data), "--port", "0"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", *module, *served], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        said = ""
        while not said.endswith("ready\n"):
            line = self._process.stdout.readline()
            if not line:
                self.end()
                assert self.died, said
                raise ConnectionError("it died at its start")
            said += line
        found = re.search(r"127\.0\.0\.1:(\d+)", said)
        assert found is not None, said
        self._port = int(found[1])
        self._tickets: dict[str, str] = {}

    def ticket(self, user: str) -> str:
        if not self._tickets:
            lines = plan_tickets(DataDir(self._data), list(USERS), None, "1d", int(time.time())).lines()
            self._tickets = dict(line.rstrip("\n").split("\t") for line in lines)
        return self._tickets[user]

    def ask(self, user: str, method: str, path: str, **fields: Any) -> Any:
        """Return the fields of the answer. Raises OSError or HTTPException if the server is gone."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        try:
            headers = {"Authorization": f"Bearer {self.ticket(user)}", "Content-Type": "application/json"}
            connection.request(method, f"/v1{path}", json.dumps(fields) if fields else None, headers)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def died(self) -> bool:
        """Whether it was killed, once it has ended."""
        return self._process.returncode == -signal.SIGKILL


class Person:
    """Sends packets, ends some, and remembers what was acknowledged."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}
        self.grants: dict[tuple[str, str], str] = {}

    def act(self, server: Server) -> None:
        """Do all of it, or go on with it after a crash."""
        server.ask("ann", "POST", "/rounds/r1/grab")
        _until(lambda: server.ask("ann", "GET", "/packets/terms")["balance"] != "0.00" or bool(self.ids))
        for number in range(PACKETS):
            request = f"r{number}"
            id_ = server.ask("ann", "POST", "/packets", total="7.00", count=3, request=request)["id"]
            assert self.ids.setdefault(request, id_) == id_, "a request has one packet for ever"
            _until(partial(self._is_paid, server, id_))
            for user in USERS[1 : 1 + number % 3]:
                answer = server.ask(user, "POST", f"/packets/{id_}/grab")
                if answer.get("outcome") == "granted":
                    grant = answer["grant"]["id"]
                    assert self.grants.setdefault((user, id_), grant) == grant
            if number % 2:
                assert server.ask("ann", "DELETE", f"/packets/{id_}")["state"] in ("closed", "empty")

    def _is_paid(self, server: Server, packet: str) -> bool:
        return bool(server.ask("ann", "GET", f"/packets/{packet}")["state"] != "unpaid")


def _until(is_so: Any) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@contextmanager
def _serving(directory: Path, plan: tuple[str, int] | None = None) -> Iterator[Server]:
    server = Server(directory, plan)
    try:
        yield server
    finally:
        server.end()


def live_through(directory: Path, point: str, passes: int) -> bool:
    """Let a server die at this point while somebody sends packets, start it again, and audit; whether it died."""
    directory.mkdir()
    (directory / "c.toml").write_text(text('expires = "1h"'))
    person = Person()
    died = True
    with suppress(OSError, http.client.HTTPException), _serving(directory, (point, passes)) as dying:
        person.act(dying)
        died = False
    with _serving(directory) as server:
        person.act(server)
        granted = sum(
            Decimal(server.ask(user, "POST", f"/packets/{id_}/grab")["grant"]["amount"]) for user, id_ in person.grants
        )
        sent = server.ask("ann", "GET", "/packets")["packets"]
        assert {one["id"] for one in sent} == set(person.ids.values()), "nothing is sent twice"
        still_open = sum(
            Decimal(one["total"]) - sum(Decimal(share["amount"]) for share in one["grants"])
            for one in sent
            if one["state"] == "open"
        )
        _until(lambda: Decimal(server.ask("ann", "GET", "/packets/terms")["balance"]) + granted + still_open == WON)
    report = reconcile_data_dir(DataDir(directory / "data"))
    assert report.ok, report.problems
    return died


def test_a_server_that_is_killed_between_payment_and_packet_goes_on_where_it_was(tmp_path: Path) -> None:
    assert live_through(tmp_path / "event", "after spent", 1), "it was to die"


@pytest.mark.soak
@pytest.mark.parametrize("point", POINTS)
def test_a_server_that_is_killed_in_any_gap_goes_on_where_it_was(tmp_path: Path, point: str) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)  # noqa: T201 - replays it
    lots = random.Random(seed)
    for number in range(3):
        live_through(tmp_path / f"event{number}", point, lots.randint(1, PACKETS))
