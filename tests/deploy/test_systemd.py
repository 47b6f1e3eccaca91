"""The units, as systemd itself reads them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from redrush.core.roles import role_named
from redrush.http.server import STOP_DEADLINE_S
from redrush.operate.stopping import STOP_MAX_S
from tests.deploy.proxies import program

UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
PROGRAMS = ("opt/redrush/bin/redrush", "usr/bin/valkey-server")
OF_SYSTEMD = ("basic", "multi-user", "network-online", "shutdown", "sysinit")
EXPOSURE_MAX = 20
"""Tenths: `systemd-analyze security` calls 2.0 and below well protected."""

SERVICES = [path.name.replace("@.", "@s1.") for path in sorted(UNITS.glob("*.service"))]


def _root(directory: Path) -> Path:
    """Return a file system with nothing but the units, the targets that they name, and programs that they start."""
    root = directory / "root"
    units = root / "etc/systemd/system"
    units.mkdir(parents=True)
    for path in UNITS.glob("redrush*"):
        if path.is_dir():
            shutil.copytree(path, units / path.name)
        else:
            shutil.copy(path, units / path.name.replace("@.", "@s1."))
    for name in OF_SYSTEMD:
        (units / f"{name}.target").write_text("[Unit]\nDescription=stands for systemd's own\n")
    for name in PROGRAMS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/true", root / name)
    return root


def _analyze(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [program("systemd-analyze"), *arguments, f"--root={root}"],
        capture_output=True, text=True, timeout=60, check=False, env={"SYSTEMD_PAGER": "", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


@pytest.mark.peers
@pytest.mark.parametrize("unit", [*SERVICES, "redrush.target"])
def test_systemd_finds_nothing_wrong_with_a_unit(unit: str, tmp_path: Path) -> None:
    result = _analyze(_root(tmp_path), "verify", "--man=no", unit)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


@pytest.mark.peers
def test_systemd_would_find_a_misspelt_key_in_what_all_units_share(tmp_path: Path) -> None:
    root = _root(tmp_path)
    shared = root / "etc/systemd/system/redrush-.service.d/hardening.conf"
    shared.write_text(shared.read_text() + "ProtectSistem=yes\n")
    result = _analyze(root, "verify", "--man=no", "redrush-gate.service")
    assert "ProtectSistem" in result.stderr


@pytest.mark.peers
@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_is_well_protected(unit: str, tmp_path: Path) -> None:
    result = _analyze(_root(tmp_path), "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager", unit)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("unit", "needed_s"),
    [
        ("redrush-gate.service", STOP_DEADLINE_S),
        ("redrush-recorder@.service", role_named("recorder").stop_max_s),
        ("redrush-serve.service", STOP_MAX_S),
    ],
)
def test_a_role_is_given_the_time_to_end_in_order(unit: str, needed_s: float) -> None:
    (given_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", (UNITS / unit).read_text(), re.MULTILINE)
    assert int(given_s) > needed_s
