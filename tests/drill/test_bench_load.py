"""The load: what wrk's script sends and prints, against nginx and Redis as the benchmark really runs them.

These tests need Debian's nginx with Lua, redis-server and wrk. Where they are missing they fail with the command that
installs them: a peer that is left out silently is the error they are here to prevent.
"""

import socket
from collections import Counter
from contextlib import suppress
from pathlib import Path
from threading import Thread

import msgspec
import pytest

from redrush.drill.bench.browser import (
    OWN_MARK,
    PACKET_PATH,
    TICKET_MARK,
    Heads,
    ask,
    grab_heads,
    grab_path,
    grab_request,
)
from redrush.drill.bench.peers import nginx_lua_redis, nginx_return, redis_granted
from redrush.drill.bench.tools import Found, Tool, find_tools
from redrush.drill.bench.wrk import (
    Load,
    Mode,
    Summary,
    parse_summary,
    run_wrk,
    write_heads,
    write_heads_to,
    write_tickets,
)
from redrush.processes.failure import ProcessFailed
from redrush.processes.pinned import Child, Cores, choose_cores

SUMMARY = (
    '{"requests":1000,"duration_us":2000000,"connect_errors":0,"read_errors":1,"write_errors":0,"status_errors":2,'
    '"timeouts":0,"cpu_us":9,"p50_us":100,"p99_us":200,"p999_us":300,"max_us":400}'
)


@pytest.fixture(name="found", scope="module")
def found_tools() -> Found:
    found = find_tools()
    found.require(frozenset(Tool))
    return found


@pytest.fixture(name="cores")
def two_cores() -> Cores:
    return choose_cores()


def tickets(count: int) -> list[str]:
    return [f"k1.{k:08x}.user{k:06d}.{'0' * 32}" for k in range(count)]


def test_a_summary_is_found_among_what_wrk_prints() -> None:
    summary = parse_summary(f"Running 1s test @ http://127.0.0.1:1/\n  1 threads\n\n{SUMMARY}\n")
    assert summary.rate_per_s == 500.0
    assert summary.errors == 3
    assert not summary.exhausted


def test_a_summary_tells_that_the_tickets_ran_out() -> None:
    assert parse_summary(f"exhausted\n{SUMMARY}\n").exhausted


@pytest.mark.parametrize("printed", ["", "unable to connect to 127.0.0.1:1 Connection refused\n"])
def test_output_without_a_summary_is_a_fault(printed: str) -> None:
    with pytest.raises(ProcessFailed, match="no summary"):
        parse_summary(printed)


def test_a_request_has_the_header_block_of_a_browser() -> None:
    head, _, body = grab_request(8080, "k1.ff.user.mac").partition(b"\r\n\r\n")
    names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]]
    assert body == b"{}"
    assert len(names) == len(set(names)) == 16
    assert {b"host", b"user-agent", b"accept-language", b"authorization", b"origin", b"referer"} <= set(names)


def test_heads_share_the_requests_evenly_among_rounds() -> None:
    heads = grab_heads(8080, tuple(grab_path(f"r{k}") for k in range(10)))
    assert Counter(head.split(" ", 2)[1] for head in heads) == {f"/v1/rounds/r{k}/grab": 1 for k in range(10)}
    assert all(head.count(TICKET_MARK) == 1 for head in heads)


def test_heads_of_one_round_come_from_several_browsers() -> None:
    assert len(set(grab_heads(8080))) == len(grab_heads(8080)) == 16


@pytest.mark.parametrize("kind", list(Heads))
def test_heads_of_their_own_have_a_body_and_two_numbers_and_known_ones_neither(kind: Heads) -> None:
    for request in grab_heads(8080, heads=kind):
        head, _, body = request.partition("\r\n\r\n")
        assert (request.count(OWN_MARK), body) == ((2, "{}") if kind is Heads.OWN else (0, ""))
        assert f"Content-Length: {len(body)}\r\n" in f"{head}\r\n"


def heard_by_a_server(found: Found, cores: Cores, tmp_path: Path, lines: list[str], path: str) -> list[bytes]:
    """Return the requests with a body that wrk makes of these lines, but its first, and the last, which is cut off."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):  # the listener is closed in the end, and wrk breaks off
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        while data := connection.recv(65_536):
                            seen.append(data)
                            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        load = Load(
            port=port,
            connections=1,
            seconds=5,
            mode=Mode.ONCE,
            tickets=write_tickets(tmp_path / "tickets", lines),
            heads=write_heads_to(tmp_path / "heads", port, (path,)),
        )
        run_wrk(found.path(Tool.WRK), load, core=cores.load, server=Nobody(), log=tmp_path / "log")
    return [data for data in seen if b"X-Request-Id: " in data][1:-1]


@pytest.mark.peers
def test_no_two_requests_carry_the_same_number(found: Found, cores: Cores, tmp_path: Path) -> None:
    requests = heard_by_a_server(found, cores, tmp_path, tickets(300), grab_path("rush"))
    numbers = [data.partition(b"X-Request-Id: ")[2][:25] for data in requests]
    assert len(set(numbers)) == len(numbers) >= 290
    assert all(data.count(number[9:]) == 2 for data, number in zip(requests, numbers, strict=True))
    assert all(data.endswith(b"\r\n\r\n{}") for data in requests)


@pytest.mark.peers
def test_each_ticket_asks_for_what_it_is_used_for(found: Found, cores: Cores, tmp_path: Path) -> None:
    wanted = {ticket: f"{number:032x}" for number, ticket in enumerate(tickets(300))}
    lines = [f"{ticket}\t{packet}" for ticket, packet in wanted.items()]
    requests = heard_by_a_server(found, cores, tmp_path, lines, PACKET_PATH)
    asked = {
        data.partition(b"Bearer ")[2].partition(b"\r")[0].decode(): data.split(b" ", 2)[1].decode() for data in requests
    }
    assert len(asked) >= 290
    assert all(path == f"/v1/packets/{wanted[ticket]}/grab" for ticket, path in asked.items())


class Nobody:
    """A server whose CPU time is nobody's business."""

    def cpu_ns(self) -> int:
        return 0

    def check_alive(self) -> None:
        """It is this process."""


def run(found: Found, cores: Cores, child: Child, load: Load) -> Summary:
    log = load.tickets.with_name("wrk.log")
    return run_wrk(found.path(Tool.WRK), load, core=cores.load, server=child, log=log).summary


@pytest.mark.peers
@pytest.mark.parametrize("mode", [Mode.CYCLE, Mode.SAME])
def test_nginx_answers_the_load_for_a_second(found: Found, cores: Cores, tmp_path: Path, mode: Mode) -> None:
    body = '{"outcome":"empty"}'
    with nginx_return(found, cores, tmp_path / "nginx", body) as target:
        load = Load(
            port=target.port,
            connections=16,
            seconds=1,
            mode=mode,
            tickets=write_tickets(tmp_path / "tickets", tickets(100)),
            heads=write_heads(tmp_path / "heads", target.port),
        )
        log = tmp_path / "wrk.log"
        seen = run_wrk(found.path(Tool.WRK), load, core=cores.load, server=target.child, log=log)
        assert ask(target.port, "any").body == body.encode()
    assert seen.summary.errors == 0
    assert seen.summary.requests > 1_000
    assert not seen.summary.exhausted
    assert 0 < seen.server_cpu_share <= 1.1
    assert seen.server_cpu_us > 0


@pytest.mark.peers
def test_every_ticket_is_used_once_and_redis_remembers_each_user(found: Found, cores: Cores, tmp_path: Path) -> None:
    users = 500
    with nginx_lua_redis(found, cores, tmp_path / "peer", slots=1_000) as target:
        load = Load(
            port=target.port,
            connections=8,
            seconds=30,
            mode=Mode.ONCE,
            tickets=write_tickets(tmp_path / "tickets", tickets(users)),
            heads=write_heads(tmp_path / "heads", target.port),
        )
        summary = run(found, cores, target.child, load)
        assert summary.exhausted
        assert summary.errors == 0
        assert summary.duration_us < 10_000_000, "a run ends with its tickets, not with its seconds"
        assert users - load.connections <= redis_granted(tmp_path / "peer") <= users


@pytest.mark.peers
def test_tickets_of_different_lengths_are_refused(found: Found, cores: Cores, tmp_path: Path) -> None:
    with nginx_return(found, cores, tmp_path / "nginx", "{}") as target:
        load = Load(
            port=target.port,
            connections=1,
            seconds=1,
            mode=Mode.ONCE,
            tickets=write_tickets(tmp_path / "tickets", ["a.b.c.d", "a.b.long.d"]),
            heads=write_heads(tmp_path / "heads", target.port),
        )
        with pytest.raises(ProcessFailed, match="differ in length"):
            run(found, cores, target.child, load)


@pytest.mark.peers
def test_the_redis_peer_decides_as_a_store_does(found: Found, cores: Cores, tmp_path: Path) -> None:
    ada, ben, cid = tickets(3)
    with nginx_lua_redis(found, cores, tmp_path / "peer", slots=2) as target:
        answers = [msgspec.json.decode(ask(target.port, ticket).body) for ticket in (ada, ada, ben, cid, ada)]
    assert [answer["outcome"] for answer in answers] == ["granted", "granted", "granted", "empty", "granted"]
    assert [answer["grant"]["slot"] for answer in answers if "grant" in answer] == [0, 0, 1, 0]
    assert [answer["repeat"] for answer in answers if "grant" in answer] == [False, True, False, True]


@pytest.mark.peers
def test_a_server_that_does_not_start_says_why(found: Found, cores: Cores, tmp_path: Path) -> None:
    with (
        pytest.raises(ProcessFailed, match=r"nginx ended with 1 before it listened: it said .*unknown directive"),
        nginx_return(found, cores, tmp_path / "nginx", "'; nonsense"),
    ):
        pass
