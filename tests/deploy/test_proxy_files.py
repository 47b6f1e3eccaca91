"""The proxies' own limits are the gate's, so that neither refuses what the other would take."""

import re

from redrush.http.reader import Limits
from tests.deploy.proxies import DEPLOY

LIMITS = Limits()


def _nginx(key: str) -> str:
    found = re.findall(rf"^    {key} (.*);$", (DEPLOY / "nginx" / "redrush.conf").read_text(), re.MULTILINE)
    assert found, key
    return str(found[0])


def _haproxy(key: str) -> str:
    found = re.findall(rf"^    {key} (.*)$", (DEPLOY / "haproxy" / "haproxy.cfg").read_text(), re.MULTILINE)
    assert found, key
    return str(found[0])


def test_a_request_may_be_as_large_as_for_a_gate() -> None:
    count, size = _nginx("large_client_header_buffers").split()
    assert int(count) * int(size.removesuffix("k")) * 1024 == LIMITS.head_bytes_max
    assert int(_nginx("client_max_body_size").removesuffix("k")) * 1024 == LIMITS.body_bytes_max
    assert int(_haproxy("tune.bufsize")) - int(_haproxy("tune.maxrewrite")) == LIMITS.head_bytes_max
    assert f"req.body_size gt {LIMITS.body_bytes_max} " in (DEPLOY / "haproxy" / "haproxy.cfg").read_text()


def test_a_client_may_be_as_slow_and_as_idle_as_for_a_gate() -> None:
    slow, idle = f"{LIMITS.read_deadline_s:g}s", f"{LIMITS.idle_timeout_s:g}s"
    assert {_nginx(key) for key in ("client_header_timeout", "client_body_timeout", "send_timeout")} == {slow}
    assert (_haproxy("timeout http-request"), _haproxy("timeout http-keep-alive")) == (slow, idle)
    text = (DEPLOY / "nginx" / "redrush.conf").read_text()
    assert f"    keepalive_timeout {idle};" in text.partition("ssl_certificate")[2]


def test_a_proxy_outwaits_a_gate_and_ends_its_own_idle_connections_first() -> None:
    # The gate looks at its deadlines once a second.
    for waits in (_nginx("proxy_read_timeout"), _haproxy("timeout server")):
        assert float(waits.removesuffix("s")) > LIMITS.claim_deadline_s + 2
    for name in ("redrush-gates.conf", "redrush-one-machine.conf"):
        for idle_s in re.findall(r"keepalive_timeout (\d+)s", (DEPLOY / "nginx" / name).read_text()):
            assert int(idle_s) < LIMITS.idle_timeout_s
    (idle_s,) = re.findall(r"keepalive (\d+)s", (DEPLOY / "caddy" / "Caddyfile").read_text())
    assert int(idle_s) < LIMITS.idle_timeout_s
    (purge_s,) = re.findall(r"pool-purge-delay (\d+)s", (DEPLOY / "haproxy" / "haproxy.cfg").read_text())
    assert int(purge_s) < LIMITS.idle_timeout_s
