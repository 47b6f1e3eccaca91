"""Ports for servers: from the choice of a port on nobody else chooses it, and its server has it."""

import os
import socket
import subprocess
import sys

from redrush.processes.loopback import HOST, KEPT_MAX, free_port

CHOOSE = """
import random
from redrush.processes.loopback import free_port
by_chance, first = random.randrange, [{port}]
random.randrange = lambda *bounds: first.pop() if first else by_chance(*bounds)
print(free_port())
"""


def _chosen_elsewhere(port: int) -> int:
    """Return what another process chooses that comes upon this port first."""
    script = CHOOSE.format(port=port)
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return int(said.stdout)


def test_two_processes_choose_two_ports() -> None:
    port = free_port()
    assert _chosen_elsewhere(port) != port
    with socket.create_server((HOST, port)):
        assert _chosen_elsewhere(port) != port


def test_a_server_listens_where_its_port_is_kept_and_again_after_its_end() -> None:
    port = free_port()
    for _ in range(2):
        with socket.create_server((HOST, port)) as server, socket.create_connection((HOST, port)) as here:
            there, _address = server.accept()
            with there:
                there.sendall(b"here")
                assert here.recv(4) == b"here"


def test_no_more_ports_are_kept_than_said() -> None:
    for _ in range(KEPT_MAX):
        free_port()
    open_before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        free_port()
    assert len(os.listdir("/proc/self/fd")) == open_before
