"""The servers of one set under the shipped Valkey file, with a sealed event and its deployment file."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from redrush.config import DeploymentFile, load_deployment_file, parse_campaign
from redrush.control.data_dir import DataDir
from redrush.control.event import prepare_event
from redrush.control.keys import load_or_create_keys
from redrush.processes.loopback import free_port
from tests.deploy.servers import CAMPAIGN
from tests.deploy.valkey_servers import prepare, running

DEPLOYMENT = """\
[event]
data = "event"
records = {{ file = "records.dsn" }}
[[set]]
id = "s1"
addresses = ["127.0.0.1:{first}", "127.0.0.1:{second}"]
[valkey]
gate = {{ user = "redrush-gate", password = {{ file = "password" }} }}
settlement = {{ user = "redrush-settlement", password = {{ file = "password" }} }}
warden = {{ user = "redrush-warden", password = {{ file = "password" }} }}
"""


class Machines:
    """Two servers of a set, each started and ended on its own, and a sealed event with its deployment file."""

    def __init__(self, directory: Path, dsn: str) -> None:
        self._directory = directory
        self.ports = free_port(), free_port()
        self._password = prepare(directory / "0")
        prepare(directory / "1", self._password)
        (directory / "password").write_text(self._password)
        (directory / "records.dsn").write_text(dsn)
        data = self.data = DataDir(directory / "event")
        data.create()
        prepare_event(parse_campaign(CAMPAIGN, "event.toml"), data, lambda: time.time_ns() // 1_000)
        load_or_create_keys(data)
        (directory / "deployment.toml").write_text(DEPLOYMENT.format(first=self.ports[0], second=self.ports[1]))
        self.file = directory / "deployment.toml"
        self.deployment: DeploymentFile = load_deployment_file(self.file)

    @contextmanager
    def up(self, *numbers: int) -> Iterator[None]:
        with ExitStack() as stack:
            for number in numbers:
                stack.enter_context(running(self._directory / str(number), self.ports[number], self._password))
            yield
