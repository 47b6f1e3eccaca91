"""nginx and Caddy before a single server, with the files that docs/how-to/one-machine.md names."""

import json
from pathlib import Path

import pytest

from tests.deploy.proxies import fronting_one_machine
from tests.deploy.servers import serving, tickets

pytestmark = [pytest.mark.peers, pytest.mark.parametrize("proxy", ["nginx", "caddy"])]

PROBLEM = "application/problem+json"
TRUSTS_THE_PROXY = '[limits]\ntrusted_proxies = ["127.0.0.1"]\naddress_per_second = 1\naddress_burst = 2\n'
PUBLIC = (
    "/v1/rounds", "/v1/rounds/r1", "/v1/policy", "/livez", "/v1/campaigns/proxied/rounds/r1", "/state/proxied.json",
)  # fmt: skip
NOT_PUBLIC = ("/metrics", "/readyz", "/v1/switches", "/v1/nothing", "/v1/")


def test_everything_public_is_answered_and_nothing_else_without_a_query_role(proxy: str, tmp_path: Path) -> None:
    with serving(tmp_path, 1) as ((gate,), data), fronting_one_machine(proxy, tmp_path / "proxy", gate.port) as front:
        (ticket,) = tickets(data, ["alice"])
        mine = {"Authorization": f"Bearer {ticket}"}
        granted = json.loads(front.grab(ticket).body)
        assert (granted["outcome"], granted["repeat"]) == ("granted", False)
        assert json.loads(front.call("GET", "/v1/grants", mine).body)["grants"] == [granted["grant"]]
        assert {path: front.call("GET", path).status for path in PUBLIC} == dict.fromkeys(PUBLIC, 200)
        for path in NOT_PUBLIC:
            refused = front.call("GET", path)
            assert (refused.status, refused.headers["content-type"]) == (404, PROBLEM), path
            assert json.loads(refused.body)["status"] == 404
        for size in (5_000, 500_000):
            large = front.call("POST", "/v1/rounds/r1/grab", mine, b"x" * size)
            assert (large.status, large.headers["content-type"]) == (413, PROBLEM)
        gate.kill()
        away = front.grab(ticket)
        assert (away.status, away.headers["content-type"], away.headers["retry-after"]) == (503, PROBLEM, "1")
        assert json.loads(away.body)["status"] == 503


def test_the_server_counts_by_the_address_that_the_proxy_saw(proxy: str, tmp_path: Path) -> None:
    """Of a trusted proxy it is the client's: a stranger's word for it changes nothing."""
    with (
        serving(tmp_path, 1, TRUSTS_THE_PROXY) as ((gate,), data),
        fronting_one_machine(proxy, tmp_path / "proxy", gate.port) as front,
    ):
        asked = tickets(data, [f"u{number}" for number in range(8)])
        statuses = [
            front.call(
                "POST",
                "/v1/rounds/r1/grab",
                {"Authorization": f"Bearer {ticket}", "X-Forwarded-For": f"203.0.113.{number}"},
            ).status
            for number, ticket in enumerate(asked)
        ]
        assert 429 in statuses
