"""What becomes of measurements: results, table, JSON."""

import io
from pathlib import Path

import msgspec
import pytest

from redrush.drill.bench.conditions import Conditions, observe_python
from redrush.drill.bench.figures import Better, Figure, Result, Unit, Verdict
from redrush.drill.bench.measuring import Against, Measured, Measurement, compare, unsaturated
from redrush.drill.bench.report import Report, file_name, render, save, to_json
from redrush.drill.bench.run import MEASUREMENTS, Options, choose, results_of, run_bench
from redrush.drill.bench.wrk import Run, Summary
from redrush.drill.terminal import Terminal
from redrush.errors import ConfigError
from redrush.processes.failure import ProcessFailed
from redrush.processes.pinned import Cores

FAST = Figure(name="fast", title="how fast", unit=Unit.RATIO, better=Better.HIGHER, bar=0.5, aim=0.9)
SMALL = Figure(name="small", title="how small", unit=Unit.KB, better=Better.LOWER, bar=3.0)
CONDITIONS = Conditions(
    measured_at="2027-02-06T12:00:00+00:00",
    redrush="0.1.0",
    commit="abc1234",
    modified=False,
    cpu="a processor",
    cores=2,
    cores_used=Cores(server=0, load=1),
    memory_mib=4096,
    kernel="6.1",
    python="3.11.7",
    python_build="CPython, PGO",
    sqlite="3.54.1",
    libraries={"uvloop": "0.23.0"},
    tools={"nginx": "1.22.1"},
    filesystem="ext4",
    fsync_us=123.4,
)
SUMMARY = Summary(
    requests=1000, duration_us=1_000_000, connect_errors=0, read_errors=0, write_errors=0, status_errors=0, timeouts=0,
    cpu_us=1, p50_us=1, p99_us=2, p999_us=3, max_us=4,
)  # fmt: skip


def measurement(measured: Measured) -> Measurement:
    return Measurement(name="both", tools=frozenset(), figures=(FAST, SMALL), measure=lambda _: measured)


def run_with_share(share: float, load: float = 1.0, cpu_us: float = 9.0) -> Run:
    return Run(rate_per_s=1000.0, server_cpu_share=share, load_cpu_share=load, server_cpu_us=cpu_us, summary=SUMMARY)


def report(*results: Result) -> Report:
    return Report(
        conditions=CONDITIONS,
        runs_each=5,
        seconds_each=3,
        results=results,
        remarks=("a remark",),
        runs={"fast: redrush": (run_with_share(1.0),)},
        details={"a detail": (1.0, 2.0, 3.0)},
    )


def printed(shown: Report, width: int = 200) -> str:
    out = io.StringIO()
    Terminal(out, width).show(render(shown, width))
    return out.getvalue()


def test_a_measurement_that_fails_leaves_no_figure_out() -> None:
    results = results_of(measurement(Measured(samples={})), ProcessFailed("nginx ended"))
    assert [(result.figure.name, result.verdict, result.reason) for result in results] == [
        ("fast", Verdict.NOT_MEASURED, "nginx ended"),
        ("small", Verdict.NOT_MEASURED, "nginx ended"),
    ]


def test_a_figure_that_a_measurement_forgot_is_not_measured() -> None:
    measured = Measured(samples={"fast": (1.0, 2.0, 3.0)})
    fast, small = results_of(measurement(measured), measured)
    assert (fast.value, fast.verdict) == (2.0, Verdict.AIM)
    assert (small.value, small.verdict) == (None, Verdict.NOT_MEASURED)


@pytest.mark.parametrize(
    ("results", "passed"),
    [
        ((Result(figure=FAST, samples=(0.5,)), Result(figure=SMALL, samples=(3.0,))), True),
        ((Result(figure=FAST, samples=(0.49,)), Result(figure=SMALL, samples=(3.0,))), False),
        ((Result(figure=FAST, samples=(0.5,)), Result(figure=SMALL, reason="no disk")), False),
    ],
)
def test_a_report_passes_when_every_figure_was_measured_and_reached_its_bar(
    results: tuple[Result, ...], passed: bool
) -> None:
    assert report(*results).passed is passed


def test_the_table_shows_value_bar_aim_verdict_and_conditions() -> None:
    text = printed(report(Result(figure=FAST, samples=(0.8, 0.6, 0.7)), Result(figure=SMALL, reason="no disk")))
    for expected in ("0.70 ×", "0.60 × – 0.80 ×", "≥ 0.50 ×", "≥ 0.90 ×", "bar reached", "≤ 3.00 KB", "not measured"):
        assert expected in text
    for expected in ("not measured: no disk", "note: a remark", "a detail: 2.00", "a processor", "ext4", "123 µs"):
        assert expected in text


def test_a_saved_report_is_named_by_time_and_commit_and_keeps_every_sample(tmp_path: Path) -> None:
    shown = report(Result(figure=FAST, samples=(0.8, 0.6, 0.7)))
    path = save(shown, tmp_path / "results")
    kept = msgspec.json.decode(path.read_bytes())
    assert path.name == file_name(CONDITIONS) == "2027-02-06-120000-abc1234.json"
    assert kept == msgspec.json.decode(msgspec.json.encode(to_json(shown)))
    assert kept["results"][0]["samples"] == [0.8, 0.6, 0.7]
    assert kept["results"][0]["verdict"] == "bar reached"
    assert kept["runs"]["fast: redrush"][0]["summary"]["requests"] == 1000
    assert kept["conditions"]["fsync_us"] == 123.4


def test_a_contender_whose_core_was_idle_is_remarked_on() -> None:
    seen = {"a": [run_with_share(0.99)] * 3, "b": [run_with_share(0.99), run_with_share(0.5), run_with_share(0.6)]}
    (remark,) = unsaturated("fast", seen)
    assert remark.startswith("fast: b used 60% of its core")


def test_a_ratio_is_one_of_cpu_time_with_what_an_answer_took_and_how_many_there_were() -> None:
    pair = Against(FAST, (run_with_share(1.0, cpu_us=20.0),) * 3, (run_with_share(1.0, cpu_us=12.0),) * 3)
    measured = compare([pair])
    (fast, _) = results_of(measurement(measured), measured)
    assert (fast.value, fast.cpu_us, fast.rate_per_s) == (0.6, 20.0, 1000.0)
    text = printed(report(fast))
    assert "0.60 ×" in text
    assert "20.0 µs CPU" in text
    assert "1,000/s" in text
    assert "Python 3.11.7 (CPython, PGO)" in text


def test_a_narrow_terminal_still_shows_what_a_row_is_about() -> None:
    text = printed(report(Result(figure=FAST, samples=(0.8, 0.6, 0.7), cpu_us=12.3, rate_per_s=65_432.0)), width=80)
    for expected in ("how fast", "0.70 ×", "0.60 × – 0.80 ×", "12.3 µs CPU", "65,432/s", "≥ 0.50 ×", "bar reached"):
        assert expected in text


@pytest.mark.parametrize("limited", ["ours", "theirs"])
def test_no_ratio_is_given_where_the_load_generator_was_the_limit(limited: str) -> None:
    idle, busy = (run_with_share(0.7, load=0.99),) * 3, (run_with_share(0.99, load=0.99),) * 3
    measured = compare([Against(FAST, *((idle, busy) if limited == "ours" else (busy, idle)))])
    (fast, _) = results_of(measurement(measured), measured)
    assert fast.value is None
    assert fast.verdict is Verdict.NOT_MEASURED
    assert fast.reason == "the load generator was the limit: it used 99% of its core, the server 70% of its own"
    text = printed(report(fast))
    assert " ×" not in text.split("figure")[1].split("≥")[0]
    assert "not measured: the load generator was the limit" in text


def test_an_idle_load_generator_refuses_nothing() -> None:
    waiting = (run_with_share(0.7, load=0.5),) * 3  # for a disk
    assert compare([Against(FAST, waiting, waiting)]).samples == {"fast": (1.0, 1.0, 1.0)}


def test_the_interpreter_is_told_with_how_it_was_built() -> None:
    assert observe_python().startswith("CPython, ")


def test_every_figure_has_a_name_of_its_own() -> None:
    names = [figure.name for one in MEASUREMENTS for figure in one.figures]
    assert len(names) == len(set(names)) >= 19


def test_only_what_is_asked_for_is_measured_once() -> None:
    assert [one.name for one in choose(Options(only=("memory", "restart", "memory")))] == ["memory", "restart"]
    assert choose(Options()) == MEASUREMENTS


@pytest.mark.parametrize("options", [Options(only=("speed",)), Options(runs=0), Options(seconds=0), Options(runs=1000)])
def test_options_that_make_no_sense_are_refused(options: Options) -> None:
    with pytest.raises(ConfigError, match="bench"):
        choose(options)


def test_a_directory_in_memory_is_refused_for_durable_figures() -> None:
    with pytest.raises(ConfigError, match="in memory"):
        run_bench(Options(only=("splitting",), directory=Path("/dev/shm")), print)


def test_splitting_is_measured_into_a_report() -> None:
    told: list[str] = []
    shown = run_bench(Options(only=("splitting",), runs=1), told.append)
    (result,) = shown.results
    assert result.figure.name == "splitting.million-packets"
    assert result.value is not None
    assert result.value > 0
    assert told[0].startswith("splitting")
