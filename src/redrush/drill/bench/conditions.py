"""The conditions of a run: without them its figures mean nothing. Nothing here names the machine."""

import os
import platform
import statistics
import subprocess
import sysconfig
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import apsw
import msgspec

import redrush
from redrush.drill.bench.tools import Found, Tool, version_of
from redrush.processes.pinned import Cores

FSYNC_SAMPLES = 200
FSYNC_BYTES = 4_096

_LIBRARIES = ("uvloop", "httptools", "apsw", "msgspec", "numpy", "uvicorn", "hiredis", "psycopg")


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """Machine, system, versions and disk. `commit` is "unknown" outside of a checkout."""

    measured_at: str
    redrush: str
    commit: str
    modified: bool
    cpu: str
    cores: int
    cores_used: Cores
    memory_mib: int
    kernel: str
    python: str
    python_build: str
    """Whether the interpreter was built with profile-guided and link-time optimisation: a fifth of its speed."""
    sqlite: str
    libraries: dict[str, str]
    tools: dict[str, str]
    filesystem: str
    fsync_us: float


def observe(found: Found, cores: Cores, scratch: Path) -> Conditions:
    """Return the conditions now; `scratch` is the directory that the durable figures are measured in."""
    return Conditions(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        redrush=redrush.__version__,
        commit=_git("rev-parse", "--short", "HEAD") or "unknown",
        modified=bool(_git("status", "--porcelain")),
        cpu=_cpu_model(),
        cores=os.cpu_count() or 0,
        cores_used=cores,
        memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        kernel=platform.release(),
        python=platform.python_version(),
        python_build=observe_python(),
        sqlite=apsw.sqlite_lib_version(),
        libraries={name: _library(name) for name in _LIBRARIES},
        tools={
            tool.value: version_of(path, "-V" if tool is Tool.POSTGRES else "-v")
            for tool, path in found.paths.items()
            if tool is not Tool.NGINX_LUA
        },
        filesystem=filesystem_of(scratch),
        fsync_us=round(measure_fsync_us(scratch), 1),
    )


def filesystem_of(directory: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Return the type of the file system that holds the directory, such as "ext4"."""
    best, kind = -1, "unknown"
    target = directory.resolve()
    for line in mounts.read_text(encoding="utf-8").splitlines():
        _, point, fs_type, *_ = line.split(" ")
        mounted = Path(point.encode().decode("unicode_escape"))
        if target.is_relative_to(mounted) and len(mounted.parts) >= best:
            best, kind = len(mounted.parts), fs_type
    return kind


def measure_fsync_us(directory: Path) -> float:
    """Return the median time in µs to append 4 KiB to a file in the directory and fsync it."""
    path = directory / "fsync-probe"
    block, times_ns = bytes(FSYNC_BYTES), []
    try:
        with path.open("wb", buffering=0) as file:
            for _ in range(FSYNC_SAMPLES):
                start_ns = time.perf_counter_ns()
                file.write(block)
                os.fsync(file.fileno())
                times_ns.append(time.perf_counter_ns() - start_ns)
    finally:
        path.unlink(missing_ok=True)
    return statistics.median(times_ns) / 1e3


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def observe_python() -> str:
    """Return how the interpreter was built, as far as that makes it fast or slow."""
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    how = [name for name, option in (("PGO", "--enable-optimizations"), ("LTO", "--with-lto")) if option in arguments]
    return f"{platform.python_implementation()}, {' and '.join(how) or 'without PGO'}"


def _library(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    try:
        result = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603, S607
    except FileNotFoundError:
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
