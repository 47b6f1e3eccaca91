import io
import re
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest

from redrush.drill import figures, report_texts
from redrush.drill.audit import verdict
from redrush.drill.event_figures import SHARED_NOTE
from redrush.drill.event_report import Conditions, CrowdFigures, EventReport, RateFigures, RoundFigures, SharedFigures
from redrush.drill.observations import Ending, Observations
from redrush.drill.pages import event_page
from redrush.drill.rehearsal import BALANCED
from redrush.drill.report import milliseconds, money, print_report, to_json
from redrush.drill.terminal import Terminal

OPENS_US = 1_801_915_200_000_000  # 2027-02-06T12:00:00Z


def observations() -> Observations:
    """Two early birds, four grants of which one is repeated, three empties, a lost one and one that was not sent."""
    rows = [
        (-0.15, 0.001, Ending.NOT_OPEN, False), (-0.05, 0.001, Ending.NOT_OPEN, False),
        (0.01, 0.010, Ending.GRANTED, False), (0.02, 0.020, Ending.GRANTED, False),
        (0.03, 0.030, Ending.GRANTED, False), (0.25, 0.040, Ending.GRANTED, False),
        (0.41, 0.001, Ending.GRANTED, True), (0.30, 0.002, Ending.EMPTY, False), (0.31, 0.002, Ending.EMPTY, False),
        (0.32, 0.004, Ending.EMPTY, False), (0.33, 0.500, Ending.LOST, False), (0.34, 0.100, Ending.NOT_SENT, False),
    ]  # fmt: skip
    size = len(rows)
    return Observations(
        intended_s=np.array([r[0] for r in rows]),
        latency_s=np.array([r[1] for r in rows]),
        late_s=np.full(size, 0.0005),
        status=np.array([200 if r[2].answered else 0 for r in rows], dtype=np.uint16),
        ending=np.array([r[2] for r in rows], dtype=np.uint8),
        round=np.zeros(size, dtype=np.uint8),
        repeat=np.array([r[3] for r in rows]),
        user=np.arange(size, dtype=np.int32),
    )


def report(*, holds: bool = True, name: str = "春节红包") -> EventReport:
    observed = observations()
    grabs = figures.grabs_of(observed)
    amounts = np.array([100, 250, 50, 600])
    traffic = figures.traffic(observed)
    round_ = RoundFigures(
        id="r1", opens_us=OPENS_US, lasts_s=1.0, grants=traffic.grabs, kind="lucky", release_per_s=None, packets=4,
        carried_in=0, granted=4, total_minor=123_456_789, granted_minor=123_456_789, people=11, sold_out_after_s=0.29,
        traffic=traffic, time_line=figures.time_line(observed, 0.0, 1.0, 4), amounts=figures.amount_histogram(amounts),
    )  # fmt: skip
    return EventReport(
        campaign="c", name=name, currency="CNY", timezone="+08:00", made_us=OPENS_US + 60_000_000, rounds=(round_,),
        grants=traffic.grabs,
        verdicts=(
            verdict("lost", holds, "{wrong} of {heard} acknowledged grants", wrong="0", heard="4"),
            verdict("ledger", True, BALANCED),
        ),
        crowd=CrowdFigures(
            took_s=30.0, traffic=traffic,
            grab_latencies=figures.latency_histogram(observed.latency_s[grabs]),
            reject_latencies=figures.latency_histogram(observed.latency_s[~grabs]),
            settled_after_s=0.5, unheard=0, reconnects=0,
            conditions=Conditions(
                cpu="a CPU", cores=2, system="Linux", python="3.11", connections=8, registered_users=12, fsync_ms=0.2,
                note=SHARED_NOTE,
            ),
        ),
    )  # fmt: skip


def test_counts_add_up_and_grabs_and_rejects_are_apart() -> None:
    traffic = figures.traffic(observations())
    assert (traffic.sent, traffic.not_sent, traffic.answered, traffic.errors) == (11, 1, 10, 1)
    assert (traffic.grabs.count, traffic.rejects.count, traffic.repeats) == (4, 5, 1)
    assert traffic.statuses == {"200": 10}
    assert traffic.endings == {"granted": 5, "empty": 3, "not_open": 2, "lost": 1, "not_sent": 1}


def test_quantiles_are_latencies_that_were_measured() -> None:
    found = figures.latency(np.array([0.001, 0.002, 0.003, 0.004]))
    assert found is not None
    assert (found.p50_ms, found.p99_ms, found.p999_ms, found.max_ms) == (3.0, 4.0, 4.0, 4.0)
    assert figures.latency(np.array([])) is None


def test_the_peak_is_the_best_tenth_of_a_second_and_the_mean_the_whole_span() -> None:
    ended_s = np.array([0.0, 0.01, 0.02, 0.95, 1.0])
    assert figures.rate(ended_s) == RateFigures(5, 30.0, 5.0)


def test_the_time_line_has_an_edge_at_the_opening_and_counts_down_what_is_left() -> None:
    line = figures.time_line(observations(), 0.0, 0.5, room=4)
    assert line.first_s == -0.2
    assert line.answers["not_open"] == [1, 1, 0, 0, 0, 0, 0]
    assert line.answers["granted"] == [0, 0, 3, 0, 1, 0, 0]
    assert line.answers["repeat"] == [0, 0, 0, 0, 0, 0, 1]
    assert line.left == [4, 4, 1, 1, 0, 0, 0]


def test_amounts_fall_into_bins_of_whole_minor_units_and_none_is_missed() -> None:
    amounts = np.array([50, 50, 51, 20_000])
    histogram = figures.amount_histogram(amounts)
    assert sum(histogram.counts) == 4
    assert len(histogram.counts) <= 40
    assert all(edge == int(edge) for edge in histogram.edges)


def test_the_json_of_a_report_reads_back_as_the_report() -> None:
    assert msgspec.json.decode(to_json(report()), type=EventReport) == report()


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in {"href", "src", "xlink:href"}]


def test_the_page_needs_nothing_from_outside_and_stays_small() -> None:
    html = event_page(report())
    page = Page()
    page.feed(html)
    assert page.tags.count("svg") == 4  # the rush twice, for wide screens and for telephones
    assert "script" not in page.tags
    assert [link for link in page.links if not link.startswith("#")] == ["report.zh.html"]
    assert "url(http" not in html
    assert len(html.encode()) < 1_000_000
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_the_plots_take_every_colour_from_the_theme() -> None:
    html = event_page(report())
    plots = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    assert "var(--chart-granted)" in plots
    assert set(re.findall(r"#[0-9a-f]{6}\b", plots)) == set()
    for name in set(re.findall(r"var\((--chart-[a-z-]+)\)", plots)):
        assert f"{name}:" in html


def test_what_comes_from_a_campaign_is_escaped() -> None:
    assert "<b>红包" not in event_page(report(name="<b>红包"))


@pytest.mark.parametrize(("holds", "words"), [(True, "exact to the cent"), (False, "1 of 2 checks failed: lost")])
def test_page_and_terminal_say_the_same_verdict_and_figures(holds: bool, words: str) -> None:
    out = io.StringIO()
    print_report(report(holds=holds), Terminal(out, width=80))
    printed, html = out.getvalue(), event_page(report(holds=holds))
    for text in (words, "1,234,567.89", "春节红包", "0.29 s", "30 ms", "balanced"):
        assert text in printed
        assert text in html
    assert "\x1b" not in printed
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_an_event_in_which_nobody_won_has_a_report_too() -> None:
    nobody = observations().where(np.zeros(12, dtype=np.bool_))
    no_amounts = figures.amount_histogram(np.array([], dtype=np.int64))
    before = report()
    empty = msgspec.structs.replace(
        before.rounds[0], granted=0, granted_minor=0, sold_out_after_s=None, traffic=figures.traffic(nobody),
        time_line=figures.time_line(nobody, 0.0, 1.0, 4), amounts=no_amounts,
    )  # fmt: skip
    none = figures.latency_histogram(np.array([]))
    assert before.crowd is not None
    assert empty.traffic is not None
    crowd = msgspec.structs.replace(before.crowd, traffic=empty.traffic, grab_latencies=none, reject_latencies=none)
    after = msgspec.structs.replace(before, rounds=(empty,), crowd=crowd)
    assert "4 left" in event_page(after)


def of_a_real_event() -> EventReport:
    """The same event without anybody who observed it."""
    seen = report()
    round_ = msgspec.structs.replace(seen.rounds[0], traffic=None, people=None)
    shared = SharedFigures(
        count=3, shares=12, grants=7, total_minor=300_000, granted_minor=170_001, returned_minor=100_000
    )
    return msgspec.structs.replace(seen, rounds=(round_,), crowd=None, shared=shared)


def test_instants_are_shown_on_the_clocks_of_the_campaign() -> None:
    html = event_page(report())
    assert "2027-02-06 20:01:00 +08:00" in html
    assert re.search(r"20:00:00<small>2027-02-06 \+08:00", html)
    assert "12:00:00" not in html


def test_refusals_have_their_number_on_the_tile_of_requests() -> None:
    refused = observations()
    refused.ending[7:10] = Ending.REFUSED
    seen = report()
    assert seen.crowd is not None
    crowd = msgspec.structs.replace(seen.crowd, traffic=figures.traffic(refused))
    assert "3 refused, 1 errors, 1 not sent" in event_page(msgspec.structs.replace(seen, crowd=crowd))


@pytest.mark.parametrize("made", [report(), report(holds=False), of_a_real_event()], ids=["right", "wrong", "real"])
def test_every_sentence_of_the_page_has_its_chinese(made: EventReport, monkeypatch: pytest.MonkeyPatch) -> None:
    missing: set[str] = set()

    class Watched(dict[str, str]):
        def get(self, key: str, default: str | None = None) -> str:  # type: ignore[override]  # as it is called
            missing.update({key} - self.keys())
            return super().get(key) or str(default)

    monkeypatch.setattr(report_texts, "CHINESE", Watched(report_texts.CHINESE))
    html = event_page(made, "zh")
    assert missing == set()
    assert 'lang="zh"' in html
    assert "分毫不差" in html or "未通过" in html


@pytest.mark.parametrize("width", [50, 80])
def test_page_and_terminal_tell_of_the_packets_between_people(width: int) -> None:
    out = io.StringIO()
    print_report(of_a_real_event(), Terminal(out, width=width))
    printed = " ".join(out.getvalue().split())
    for text in ("1,700.01", "3,000.00 CNY in 3 packets", "7 of 12 shares", "1,000.00 CNY went back"):
        assert text in printed
        assert text in event_page(of_a_real_event())
    assert max(map(len, out.getvalue().splitlines())) <= width
    assert "went back" not in event_page(report()), "nobody opened one"


def test_the_report_of_a_real_event_says_nothing_of_those_whom_nobody_observed() -> None:
    html = event_page(of_a_real_event())
    for text in ("1,234,567.89", "exact to the cent", "0.29 s", "Grants per second"):
        assert text in html
    for text in ("latency", "Requests", "refused", "Conditions", "People"):
        assert text not in re.sub("<style>.*?</style>|<svg.*?</svg>", "", html, flags=re.DOTALL)


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_a_narrow_terminal_keeps_the_names_of_rounds_and_leaves_columns_out(width: int) -> None:
    out = io.StringIO()
    named = msgspec.structs.replace(report().rounds[0], id="new-years-eve-2000")
    print_report(msgspec.structs.replace(report(), rounds=(named,)), Terminal(out, width=width))
    printed = out.getvalue()
    assert "new-years-eve-2000" in printed
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= width
    assert ("reject p99" in printed) == (width == 120)


def test_a_peak_is_found_in_an_event_of_a_year_without_counting_every_tenth_of_a_second() -> None:
    assert figures.rate(np.array([0.0, 0.01, 3e7])).peak_per_s == 20.0


@pytest.mark.parametrize(
    ("value_ms", "text"), [(0.1234, "0.123 ms"), (9.876, "9.88 ms"), (151.4, "151 ms"), (2500, "2.50 s"), (None, "—")]
)
def test_latencies_are_written_in_three_digits(value_ms: float | None, text: str) -> None:
    assert milliseconds(value_ms) == text


def test_money_keeps_its_places_and_its_currency() -> None:
    assert [money(5, "CNY"), money(10_000_000, "CNY"), money(1234, "JPY"), money(1_234_567, "KWD")] == [
        "0.05 CNY", "100,000.00 CNY", "1,234 JPY", "1,234.567 KWD",
    ]  # fmt: skip
