"""The shipped proxy configurations at work: what stands in them for one site (addresses, ports, certificates, users) is
replaced by this machine's, nothing else, and the real program runs on the result."""

import getpass
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from http.client import HTTPSConnection
from pathlib import Path

import msgspec
import pytest

from redrush.processes.loopback import free_port
from tests.patience import PATIENCE_S

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
ANSWER_DEADLINE_S = 15.0
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


class Proxy(StrEnum):
    """A proxy that configurations are shipped for; the value is its command and its Debian package's first word."""

    NGINX = "nginx"
    HAPROXY = "haproxy"


_PACKAGES = {
    Proxy.NGINX: "nginx-light",
    Proxy.HAPROXY: "haproxy",
    "caddy": "caddy",
    "openssl": "openssl",
    "systemd-analyze": "systemd",
}


def program(name: str) -> str:
    """Return the path of the program; the test fails, with the command that installs it, if it is not there."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")
    if found is None:
        pytest.fail(f"{name} is not installed here: apt-get install -y {_PACKAGES[name]}")
    return found


class Behind(msgspec.Struct, frozen=True):
    """What the proxy has behind it: ports of two gates, of their control ports, of the query process and its."""

    gates: tuple[int, int]
    controls: tuple[int, int]
    query: int
    query_control: int
    payments: int = 9
    """Of who has the books and its control port, and where it hears providers; nobody, unless said otherwise."""
    payments_control: int = 9
    notices: int = 9


class Answer(msgspec.Struct, frozen=True):
    """What a client got. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Front:
    """The proxy's TLS port, as participants see it. Every call is a connection of its own, unless one is given."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self) -> HTTPSConnection:
        """Return a connection that may be used for many calls; close it."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return HTTPSConnection("127.0.0.1", self.port, timeout=ANSWER_DEADLINE_S, context=context)

    def call(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """Ask once over a connection of its own."""
        connection = self.connect()
        try:
            return call(connection, method, path, headers, body)
        finally:
            connection.close()

    def say(self, data: bytes) -> bytes:
        """Send these bytes over TLS and return whatever comes until the proxy closes, or nothing more comes."""
        received = b""
        connection = self.connect()
        try:
            connection.connect()
            connection.sock.settimeout(2)
            connection.sock.sendall(data)
            while more := connection.sock.recv(65_536):
                received += more
        except OSError:
            pass  # it was cut, or waits for more than there is
        finally:
            connection.close()
        return received

    def grab(self, ticket: str) -> Answer:
        """Grab a packet of round r1."""
        return self.call("POST", "/v1/rounds/r1/grab", {"Authorization": f"Bearer {ticket}"})


def call(
    connection: HTTPSConnection, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Answer:
    """Ask once over the connection."""
    connection.request(method, path, body=body or None, headers=dict(headers or {}))
    response = connection.getresponse()
    received = response.read()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, received)


@contextmanager
def fronting(proxy: Proxy, directory: Path, behind: Behind, changes: Sequence[tuple[str, str]] = ()) -> Iterator[Front]:
    """Run the proxy before what is behind it; `changes` are made to its configuration besides. Ends with the block."""
    command, port = prepare(proxy, directory, behind, changes)
    with _running(command, port, directory) as front:
        yield front


@contextmanager
def fronting_one_machine(command: str, directory: Path, gate: int) -> Iterator[Front]:
    """Run nginx or caddy before a single server at the port, with the files for that. Ends with the block."""
    directory.mkdir(exist_ok=True)
    _certificate(directory)
    port = free_port()
    if command == "caddy":
        argv = _caddy(directory, gate, port)
    else:
        _nginx(directory, "redrush-one-machine.conf", [("127.0.0.1:8080", f"127.0.0.1:{gate}")], port, free_port())
        argv = _nginx_command(directory)
    with _running(argv, port, directory) as front:
        yield front


@contextmanager
def _running(command: Sequence[str], port: int, directory: Path) -> Iterator[Front]:
    with ExitStack() as stack:
        said = stack.enter_context((directory / "proxy.log").open("w+"))
        process = stack.enter_context(subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT))
        stack.callback(process.terminate)
        front = Front(port)
        deadline_s = time.monotonic() + PATIENCE_S
        while not _answers(front):
            if process.poll() is not None or time.monotonic() > deadline_s:
                said.seek(0)
                raise AssertionError(f"{' '.join(command)} does not answer: {said.read()}")
            time.sleep(0.02)
        yield front


def _answers(front: Front) -> bool:
    try:
        return front.call("GET", "/livez").status == 200
    except OSError:
        return False


def prepare(
    proxy: Proxy, directory: Path, behind: Behind, changes: Sequence[tuple[str, str]] = ()
) -> tuple[list[str], int]:
    """Write the configuration for this machine; returns the command that runs it, and its TLS port."""
    directory.mkdir(exist_ok=True)
    _certificate(directory)
    port, plain_port = free_port(), free_port()
    if proxy is Proxy.HAPROXY:
        _haproxy(directory, behind, port, plain_port, changes)
        return [program(proxy), "-db", "-f", str(directory / "haproxy.cfg")], port
    gates = [
        ("10.0.1.11:8080", f"127.0.0.1:{behind.gates[0]}"),
        ("10.0.1.12:8080", f"127.0.0.1:{behind.gates[1]}"),
        ("10.0.1.31:8081", f"127.0.0.1:{behind.query}"),
        ("10.0.1.41:8082", f"127.0.0.1:{behind.payments}"),
        ("10.0.1.41:9105", f"127.0.0.1:{behind.notices}"),
    ]
    _nginx(directory, "redrush-gates.conf", gates, port, plain_port, changes)
    return _nginx_command(directory), port


def _nginx_command(directory: Path) -> list[str]:
    return [program("nginx"), "-p", str(directory), "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"]


def _nginx(
    directory: Path,
    gates_file: str,
    gates: Sequence[tuple[str, str]],
    port: int,
    plain_port: int,
    changes: Sequence[tuple[str, str]] = (),
) -> None:
    scratch = "".join(
        f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = _replaced(
        (DEPLOY / "nginx" / "nginx.conf").read_text(),
        [
            ("user www-data;", f"user {getpass.getuser()};" if os.geteuid() == 0 else ""),
            ("worker_rlimit_nofile 131072;", ""),
            ("worker_connections 60000;", "worker_connections 4000;"),
            ("/run/nginx.pid", f"{directory}/nginx.pid"),
            ("/var/log/nginx/error.log", "stderr"),
            ("include /etc/nginx/redrush.conf;", f"{scratch} include {directory}/redrush.conf;"),
        ],
    )
    site = _replaced(
        (DEPLOY / "nginx" / "redrush.conf").read_text(),
        [
            ("/etc/nginx/redrush-gates.conf", f"{directory}/redrush-gates.conf"),
            ("listen 443 ", f"listen 127.0.0.1:{port} "),
            ("listen 80 ", f"listen 127.0.0.1:{plain_port} "),
            ("/etc/nginx/tls/redrush.crt", f"{directory}/tls.pem"),
            ("/etc/nginx/tls/redrush.key", f"{directory}/tls.pem"),
            ("/var/log/nginx/redrush.log", f"{directory}/access.log"),
            ("/var/cache/nginx/redrush", f"{directory}/cache"),
            *changes,
        ],
    )
    (directory / "nginx.conf").write_text(main)
    (directory / "redrush.conf").write_text(site.replace("/srv/redrush/page", f"{directory}/page"))
    (directory / "redrush-gates.conf").write_text(_replaced((DEPLOY / "nginx" / gates_file).read_text(), gates))


def _caddy(directory: Path, gate: int, port: int) -> list[str]:
    """Write the Caddyfile for this machine, with a certificate of ours instead of one that Caddy would fetch."""
    here = "{\n\tadmin off\n\tauto_https off\n\tdefault_sni redrush.example.com\n}\n"
    site = f"https://:{port} {{\n\tbind 127.0.0.1\n\ttls {directory}/tls.pem {directory}/tls.pem\n"
    text = _replaced(
        (DEPLOY / "caddy" / "Caddyfile").read_text(),
        [
            ("redrush.example.com {\n", here + site),
            ("127.0.0.1:8080", f"127.0.0.1:{gate}"),
            ("/srv/redrush/page", f"{directory}/page"),
        ],
    )
    (directory / "Caddyfile").write_text(text)
    homes = ["env", f"XDG_CONFIG_HOME={directory}", f"XDG_DATA_HOME={directory}"]
    return [*homes, program("caddy"), "run", "--config", str(directory / "Caddyfile"), "--adapter", "caddyfile"]


def _haproxy(directory: Path, behind: Behind, port: int, plain_port: int, changes: Sequence[tuple[str, str]]) -> None:
    text = _replaced(
        (DEPLOY / "haproxy" / "haproxy.cfg").read_text(),
        [
            ("    maxconn 60000\n", "    maxconn 2000\n"),
            ("    user haproxy\n    group haproxy\n", ""),
            ("    log /dev/log local0\n", ""),
            ("10.0.1.11:8080 check port 9110", f"127.0.0.1:{behind.gates[0]} check port {behind.controls[0]}"),
            ("10.0.1.12:8080 check port 9110", f"127.0.0.1:{behind.gates[1]} check port {behind.controls[1]}"),
            ("10.0.1.11:8080", f"127.0.0.1:{behind.gates[0]}"),
            ("10.0.1.12:8080", f"127.0.0.1:{behind.gates[1]}"),
            ("10.0.1.31:8081 check port 9104", f"127.0.0.1:{behind.query} check port {behind.query_control}"),
            ("10.0.1.41:8082 check port 9106", f"127.0.0.1:{behind.payments} check port {behind.payments_control}"),
            ("10.0.1.41:9105", f"127.0.0.1:{behind.notices}"),
            ("bind :443 ", f"bind 127.0.0.1:{port} "),
            ("bind :80\n", f"bind 127.0.0.1:{plain_port}\n"),
            ("/etc/haproxy/tls/redrush.pem", f"{directory}/tls.pem"),
            *changes,
        ],
    )
    (directory / "haproxy.cfg").write_text(text)


def _replaced(text: str, changes: Sequence[tuple[str, str]]) -> str:
    for old, new in changes:
        assert old in text, f'the configuration has no "{old}" any more'
        text = text.replace(old, new)
    return text


def _certificate(directory: Path) -> None:
    """Make a key and a certificate of its own, both in tls.pem."""
    path = directory / "tls.pem"
    request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    made = subprocess.run(
        [program("openssl"), *request, "-subj", "/CN=redrush.example.com", "-keyout", "-", "-out", "-"],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    path.touch(mode=0o600)
    path.write_bytes(made.stdout)
