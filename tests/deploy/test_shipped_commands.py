"""Every command line in a shipped file is one that `redrush` takes."""

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from redrush.cli.main import app
from redrush.config import load_campaign_file, load_deployment_file
from redrush.config.deployment_file import Duty
from redrush.core.roles import ROLES
from redrush.operate.checking import deployment_doubts
from tests.deploy.kubernetes import container, of_kind

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"


def _systemd_commands() -> list[list[str]]:
    found = []
    for unit in sorted((DEPLOY / "systemd").glob("*.service")):
        (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
        command = shlex.split(line.replace("%i", "s1").replace(" $REDRUSH_OPTIONS", " --control-port 9111"))
        if command[0].endswith("/redrush"):
            found.append(command[1:])
    return found


def _kubernetes_commands() -> list[list[str]]:
    return [container(workload)["args"] for workload in of_kind("Deployment", "Job")]


def test_there_is_a_unit_and_a_workload_for_every_role() -> None:
    roles = {row.name for row in ROLES}
    assert {command[0] for command in _systemd_commands()} == roles | {"serve", "login"}, (
        "and those of a machine that does all, and of logins"
    )
    assert {command[0] for command in _kubernetes_commands()} == roles | {"seal", "found"}


def _parse(command: list[str]) -> None:
    """Read a command line as `redrush` would, without running it."""
    app.commands[command[0]].make_context(command[0], list(command[1:]))


@pytest.mark.parametrize("command", [*_systemd_commands(), *_kubernetes_commands()], ids=" ".join)
def test_redrush_takes_the_command(command: list[str]) -> None:
    _parse(command)


def test_a_command_with_something_unknown_is_not_taken() -> None:
    with pytest.raises(click.UsageError, match="--unknown"):
        _parse(["serve", "event.toml", "--data", "x", "--unknown"])


def test_the_units_ports_are_those_of_the_proxies() -> None:
    deployment = load_deployment_file(DEPLOY / "systemd" / "deployment.toml")
    gates = {str(address) for address in deployment.control.gates}
    query, query_control = deployment.query.address.port, deployment.query.control.port
    nginx = (DEPLOY / "nginx" / "redrush-gates.conf").read_text()
    payments, payments_control = deployment.payments.address.port, deployment.payments.control.port
    alone = {f"10.0.1.31:{query}", f"10.0.1.41:{payments}", "10.0.1.41:9105"}
    assert set(re.findall(r"^    server ([0-9.:]+)", nginx, re.MULTILINE)) == gates | alone
    haproxy = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    assert set(re.findall(r"^    server gate\d (\S+)", haproxy, re.MULTILINE)) == gates
    assert {int(port) for port in re.findall(r"server gate\d \S+ check port (\d+)", haproxy)} == {
        deployment.gate.control.port
    }
    assert re.findall(r"server query1 (\S+) check port (\d+)", haproxy) == [(f"10.0.1.31:{query}", str(query_control))]
    assert re.findall(r"server payments1 (\S+) check port (\d+)", haproxy) == [
        (f"10.0.1.41:{payments}", str(payments_control))
    ]
    assert deployment.payments.control.host == "0.0.0.0"
    # HAProxy asks them from another machine.
    assert (deployment.gate.control.host, deployment.query.control.host) == ("0.0.0.0", "0.0.0.0")


@pytest.mark.parametrize("file", ["systemd/deployment.toml", "kubernetes/deployment.toml"])
def test_check_has_nothing_to_say_of_a_shipped_deployment_file(file: str) -> None:
    deployment = load_deployment_file(DEPLOY / file)
    assert deployment_doubts(deployment) == []
    assert deployment.control.found_at.host not in {"127.0.0.1", "localhost", "0.0.0.0"}, "gates are other machines"


def test_credentials_are_handed_to_the_units_that_read_them() -> None:
    deployment = load_deployment_file(DEPLOY / "systemd" / "deployment.toml")
    passwords = [login.password for login in deployment.valkey.logins.values() if login.password is not None]
    names = {*(password.credential for password in passwords), deployment.sets[0].records.credential}
    assert len(names) == len(Duty) + 1
    handed: dict[str, set[str]] = {}
    for unit in (DEPLOY / "systemd").glob("redrush-*.service"):
        handed[unit.name] = set(
            re.findall(r"^LoadCredential=([^:]+):/etc/redrush/secrets/\1$", unit.read_text(), re.MULTILINE)
        )
    assert handed.pop("redrush-login.service") == {"oidc.secret"}, "it has no part in the deployment"
    assert set.union(*handed.values()) == names
    assert handed == {
        "redrush-gate.service": {"gate.password"},
        "redrush-query.service": {"records.dsn"},
        "redrush-recorder@.service": {"settlement.password", "records.dsn"},
        "redrush-settle.service": {"settlement.password"},
        "redrush-payments.service": {"settlement.password", "records.dsn"},
        "redrush-control.service": {"warden.password"},
        "redrush-serve.service": set(),
        "redrush-valkey@.service": set(),
    }


def test_the_campaign_of_the_cluster_is_the_sample_of_init() -> None:
    sample = (REPOSITORY / "src" / "redrush" / "cli" / "sample.toml").read_text()
    assert (DEPLOY / "kubernetes" / "event.toml").read_text() == sample.replace("{id}", "cny2027")
    load_campaign_file(DEPLOY / "kubernetes" / "event.toml")


def test_the_image_is_made_of_files_that_exist_and_runs_without_root() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (REPOSITORY / source).exists(), source
    assert "USER 10001:10001" in lines
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r"'\.\[([a-z,]+)\]'", "\n".join(lines))
    assert set(extras.split(",")) == {"scaled", "payments", "stripe", "notices"}, "test_extras_of_roles.py says why"
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert f"'.[{extras}]'" in (REPOSITORY / "docs" / "deployment.md").read_text(), "units and images have the same"
    assert 'ENTRYPOINT ["/opt/redrush/bin/redrush"]' in lines
    assert "redrush" in project["scripts"]
    kept = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == {
        source for line in lines if line.startswith("COPY ") and "--from" not in line for source in line.split()[1:-1]
    }
