"""Deployment files: what a person can get wrong, and what they are told. File, line and key every time."""

from importlib import resources
from pathlib import Path

import pytest

from redrush.config import load_deployment_file, parse_deployment
from redrush.core.sets.address import Address
from redrush.errors import ConfigError

MINIMUM = """\
[event]
data = "event"
records = { env = "REDRUSH_RECORDS" }

[[set]]
id = "s1"
addresses = ["10.0.1.11:6379", "10.0.1.12:6379"]

[[set]]
id = "s2"
addresses = ["[fd00::2]:6379"]
"""
PATH = Path("/etc/redrush/d.toml")


def test_the_minimum_file_is_a_deployment() -> None:
    deployment = parse_deployment(MINIMUM, PATH)
    assert deployment.data == Path("/etc/redrush/event"), "relative to the file"
    assert [spec.id for spec in deployment.sets] == ["s1", "s2"]
    assert deployment.sets[0].addresses == (Address("10.0.1.11", 6379), Address("10.0.1.12", 6379))
    assert [spec.replicas_needed for spec in deployment.sets] == [1, 0], "one replica is waited for where there is one"
    assert str(deployment.sets[1].addresses[0]) == "[fd00::2]:6379"
    assert deployment.warm_up_us == 60_000_000
    assert (deployment.gate.address, deployment.gate.workers) == (Address("0.0.0.0", 8080), 1)


def test_the_sample_is_a_deployment() -> None:
    text = resources.files("redrush.cli").joinpath("sample_deployment.toml").read_text(encoding="utf-8")
    assert [spec.id for spec in parse_deployment(text, PATH).sets] == ["s1", "s2"]
    optional = text.replace("# replicas", "replicas").replace("# from_", "from_").replace("# records", "records")
    for line in (
        "[valkey]",
        "user",
        "password",
        "tls",
        "tls_ca",
        "tls_cert",
        "tls_key",
        "cluster",
        "gates",
        "connections_max",
        "audience",
    ):
        optional = optional.replace(f"# {line}", line)
    deployment = parse_deployment(optional, PATH)
    assert deployment.sets[0].from_round == "r21"
    assert deployment.valkey.tls_ca == Path("/etc/redrush/valkey-ca.pem")
    assert deployment.control.gates == (Address("127.0.0.1", 8080),)
    assert deployment.control.lower_after_us == 5_000_000
    sheds = text.replace("# [admission]", "[admission]").replace("# level_at", "level_at")
    assert parse_deployment(sheds, PATH).admission.level_at_opening == 0.9
    never = parse_deployment(text.replace('# lower_after = "5s"', 'lower_after = "never"'), PATH)
    assert never.control.lower_after_us is None


def test_the_control_role_is_found_where_it_binds_unless_said_otherwise() -> None:
    here = parse_deployment(MINIMUM + '[control]\ncontrol_host = "10.0.1.21"\n', PATH).control
    assert (here.control, here.found_at) == (Address("10.0.1.21", 9103), Address("10.0.1.21", 9103))
    behind = '[control]\ncontrol_host = "0.0.0.0"\naddress = "redrush-control:9203"\n'
    assert parse_deployment(MINIMUM + behind, PATH).control.found_at == Address("redrush-control", 9203)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('data = "event"\n', "", '1: event: the key "data" is missing'),
        ('data = "event"', 'data = "event"\ndate = 1', '3: event.date: unknown key "date"'),
        ('data = "event"', 'data = "event"\nwarm_up = "soon"', '3: event.warm_up: "soon" is not a duration'),
        ('data = "event"', 'data = "event"\nwarm_up = "25h"', '3: event.warm_up: "25h" is too long'),
        ('id = "s2"', 'id = "s1"', '10: set[1].id: the id "s1" is used twice'),
        ('id = "s2"', 'id = "s 2"', '10: set[1].id: "s 2" is not an id'),
        ('"10.0.1.12:6379"', '"10.0.1.12"', '7: set[0].addresses: "10.0.1.12" is not an address'),
        ('"10.0.1.12:6379"', '"10.0.1.12:0"', '7: set[0].addresses: "10.0.1.12:0" is not an address'),
        ('"10.0.1.12:6379"', '"fd00::2:6379"', "7: set[0].addresses: "),
        ('"[fd00::2]:6379"', '"[fd00]:6379"', "11: set[1].addresses: "),
        ('"[fd00::2]:6379"', "", "11: set[1].addresses: a set has 1 to 16 servers, this one 0"),
        ('"[fd00::2]:6379"', '"10.0.1.11:6379"', "11: set[1].addresses: 10.0.1.11:6379 stands twice"),
        ('id = "s2"', 'id = "s2"\nreplicas_needed = 1', "11: set[1].replicas_needed: must be from 0 to 0"),
        ('{ env = "REDRUSH_RECORDS" }', "{ }", "3: event.records: is found in one place"),
        ('{ env = "REDRUSH_RECORDS" }', '{ env = "A", credential = "b" }', "3: event.records: is found in one place"),
        ('{ env = "REDRUSH_RECORDS" }', '{ credential = "../b" }', '3: event.records: "../b" is no name'),
        ('{ env = "REDRUSH_RECORDS" }', '"postgresql://a:b@c/d"', "3: event.records: holds a password"),
        ('{ env = "REDRUSH_RECORDS" }', '"host=c password=b"', "3: event.records: holds a password"),
        ('records = { env = "REDRUSH_RECORDS" }', "", "5: set[0]: has no records"),
        ("[[set]]", '[valkey]\npassword = "x"\n[[set]]', "6: valkey.password: does not belong here"),
        ("[[set]]", '[valkey]\nuser = "x"\n[[set]]', "6: valkey.user: needs a password"),
        ("[[set]]", '[valkey]\ntls_ca = "x"\n[[set]]', "6: valkey.tls_ca: is of no use without tls"),
        ("[[set]]", '[valkey]\ntls = true\ntls_cert = "x"\n[[set]]', "7: valkey.tls_cert: goes with tls_key"),
        ("[[set]]", "[gate]\nworkers = 0\n[[set]]", "6: gate.workers: must be from 1 to 256"),
        ("[[set]]", "[gate]\nport = 70000\n[[set]]", "6: gate.port: 70000 is not a port"),
        ("[[set]]", "[gate]\nparked_max = 0\n[[set]]", "6: gate.parked_max: must be at least 1"),
        ("[[set]]", '[control]\ngates = ["x"]\n[[set]]', '6: control.gates: "x" is not an address'),
        ("[[set]]", '[control]\naddress = "x"\n[[set]]', '6: control.address: "x" is not an address'),
        ("[[set]]", '[control]\nlower_after = "x"\n[[set]]', '6: control.lower_after: "x" is not a duration'),
        ("[[set]]", "[settle]\ncontrol_port = -1\n[[set]]", "6: settle.control_port: -1 is not a port"),
        ("[[set]]", "[recorder]\n[[set]]", '5: recorder: the key "control_port" is missing'),
    ],
)
def test_a_mistake_is_told_with_file_line_and_key(old: str, new: str, sentence: str) -> None:
    assert old in MINIMUM
    with pytest.raises(ConfigError) as refused:
        parse_deployment(MINIMUM.replace(old, new, 1), PATH)
    assert str(refused.value).startswith(f"{PATH}:{sentence}")


def test_some_set_must_serve_the_first_round() -> None:
    text = MINIMUM.replace('id = "s1"', 'id = "s1"\nfrom_round = "r1"').replace(
        'id = "s2"', 'id = "s2"\nfrom_round = "r2"'
    )
    with pytest.raises(ConfigError, match="at least one must serve the campaign from its first round"):
        parse_deployment(text, PATH)


def test_the_servers_of_a_cluster_may_serve_several_sets() -> None:
    shared = MINIMUM.replace('"[fd00::2]:6379"', '"10.0.1.11:6379"') + "[valkey]\ncluster = true\n"
    assert parse_deployment(shared, PATH).valkey.cluster


def test_a_secret_is_read_where_it_is_when_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = MINIMUM.replace('id = "s2"', 'id = "s2"\nrecords = { file = "s2.dsn" }')
    first, second = (spec.records for spec in parse_deployment(text, tmp_path / "d.toml").sets)
    monkeypatch.delenv("REDRUSH_RECORDS", raising=False)
    with pytest.raises(ConfigError, match=r"d.toml: event.records: the environment has no variable REDRUSH_RECORDS"):
        first.read()
    monkeypatch.setenv("REDRUSH_RECORDS", "postgresql://a:b@c/d")
    assert first.read() == "postgresql://a:b@c/d"
    with pytest.raises(ConfigError, match=r"d.toml: set\[1\].records: .*s2.dsn cannot be read: No such file"):
        second.read()
    (tmp_path / "s2.dsn").write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        second.read()
    (tmp_path / "s2.dsn").write_text("host=c\n")
    assert second.read() == "host=c"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_deployment_file(tmp_path / "missing.toml")


def test_a_credential_is_read_from_where_systemd_has_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = MINIMUM.replace('{ env = "REDRUSH_RECORDS" }', '{ credential = "records.dsn" }')
    records = parse_deployment(text, PATH).sets[0].records
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError, match="LoadCredential="):
        records.read()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(ConfigError, match="cannot be read"):
        records.read()
    (tmp_path / "records.dsn").write_text("postgresql://db/redrush\n")
    assert records.read() == "postgresql://db/redrush"
