"""The parts of the page's script that are pure, in the browser that runs them: policy, clock, shakes, looks."""

import json
from collections.abc import Iterator
from hashlib import sha256
from importlib.resources import files
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from redrush.core.money.currency import EXPONENTS
from redrush.page.content import SIGNS
from redrush.page.document import qr_library
from tests.browser.chromium import close
from tests.client.policy_cases import TABLE

pytestmark = pytest.mark.browser


@pytest.fixture
def blank(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    close(page.context)


def load(page: Page, name: str, *exported: str) -> None:
    """Have a module of the script in an empty page, and what it exports as globals."""
    script = files("redrush.page").joinpath(f"script/{name}.js").read_text(encoding="utf-8")
    page.add_script_tag(type="module", content=f"{script}\nObject.assign(window, {{{', '.join(exported)}}});")
    page.wait_for_function(f"() => typeof window.{exported[0]} !== 'undefined'")


RUN_CASES = """(cases) => cases.map(({ draws, policy, gates, calls }) => {
  let drawn = 0;
  const draw = () => draws[drawn++ % draws.length];
  const micros = (pause) => (pause === null ? null : Math.round(pause * 1e6));
  const told = (step) => step && [micros(step.pause), step.showing, step.elsewhere];
  if (gates) {
    const asked = new Gates(gates, draw);
    return calls.map(([name, now, spoke]) => {
      if (name === "failed") asked.failed(now, spoke);
      else if (name === "answered") asked.answered();
      return [asked.at, asked.another(now)];
    });
  }
  const asking = new Asking(policy, draw);
  return calls.map(([name, given]) => {
    if (name === "begin" || name === "sending") return told(asking[name](given));
    if (name === "answered") {
      return told(asking.answered(given.outcome, { intervalMs: given.interval_ms, opensIn: given.opens_in_s }));
    }
    if (name === "failed") return told(asking.failed(given));
    const { status, retry_after_s, interval_ms, elsewhere, another } = given;
    return told(asking.refused(status, { retryAfter: retry_after_s, intervalMs: interval_ms, elsewhere, another }));
  });
})"""


def test_the_page_decides_as_the_table_says_that_the_python_client_keeps_to(blank: Page) -> None:
    load(blank, "policy", "Asking", "Gates")
    cases = json.loads(TABLE.read_text())
    for case, says in zip(cases, blank.evaluate(RUN_CASES, cases), strict=True):
        assert says == case["says"], case


def test_the_clock_is_late_by_the_least_delay_and_never_early(blank: Page) -> None:
    load(blank, "clock", "ServerClock", "Leaps")
    late = blank.evaluate("""() => {
      const clock = new ServerClock();
      const truth = (at) => 1800000000000 + at;
      const late = [];
      [[0, 900], [5000, 35], [10000, 400], [60000, 700]].forEach(([sent, delay]) => {
        clock.observe(truth(sent), sent + delay);
        late.push(truth(sent + delay) - clock.now(sent + delay));
      });
      return late;
    }""")
    assert late == [900, 35, 35, 35]


def test_a_sample_that_is_older_than_two_minutes_is_not_gone_by(blank: Page) -> None:
    load(blank, "clock", "ServerClock", "Leaps")
    assert (
        blank.evaluate("""() => {
      const clock = new ServerClock();
      clock.observe(1000, 0);           // of a server, or a quartz, that was ahead then
      clock.observe(200500, 200000);
      return clock.now(200000);
    }""")
        == 200_500
    )


def test_a_leap_of_the_wall_clock_or_of_the_steady_one_is_noticed(blank: Page) -> None:
    load(blank, "clock", "Leaps")
    assert blank.evaluate("""() => {
      const leaps = new Leaps(1e12, 0);
      return [[1e12 + 1000, 1000], [1e12 + 3602000, 2000], [1e12 + 3603000, 3000], [1e12 + 3664000, 4000]]
        .map(([wall, steady]) => leaps.leapt(wall, steady));
    }""") == [False, True, False, True]


SHAKES: list[tuple[str, str, int]] = [
    ("still", "[0, 0, 9.8]", 0),
    ("walking", "[3 * Math.sin(at / 160), 0, 9.8]", 0),
    ("one jolt", "[at > 1000 && at < 1040 ? 30 : 0, 0, 9.8]", 0),
    ("a shake", "[24 * Math.sin(at / 25), 0, 9.8]", 3),
    ("without values", "[null, null, null]", 0),
]


@pytest.mark.parametrize(("name", "force", "felt"), SHAKES, ids=[name for name, _, _ in SHAKES])
@pytest.mark.parametrize("per_second", [16, 60])
def test_a_shake_is_felt_by_time_and_not_by_samples(
    blank: Page, name: str, force: str, felt: int, per_second: int
) -> None:
    load(blank, "shake", "ShakeDetector")
    times = blank.evaluate(f"""() => {{
      const detector = new ShakeDetector(1000);
      const felt = [];
      for (let at = 0; at < 3000; at += 1000 / {per_second}) if (detector.feel(...{force}, at)) felt.push(at);
      return felt;
    }}""")
    assert bool(times) is bool(felt), times
    assert all(later - earlier >= 1_000 for earlier, later in pairwise(times))


def test_no_look_falls_on_the_opening_and_nobody_looks_too_often(blank: Page) -> None:
    load(blank, "state", "nextLook")
    looks: list[dict[str, Any]] = (
        blank.evaluate("""() => [4000000, 61000, 30000, 3000, 1000, 100, -5, null].flatMap((opensIn) =>
      Array.from({ length: 200 }, () => {
        const jitter = Math.random();
        const asked = { opensIn, asking: false, failures: 0, draw: Math.random, window: 1000, jitter };
        return { opensIn, jitter, pause: nextLook(asked) };
      }))""")
    )
    for look in looks:
        opens_in, pause = look["opensIn"], look["pause"]
        if opens_in is None or opens_in <= 0:
            assert 15_000 <= pause <= 45_000
        elif pause > opens_in - 250:
            assert pause == pytest.approx(opens_in + look["jitter"] * 1_000), "after the opening, spread as claims are"
        else:
            assert 15_000 <= pause <= 60_000 if opens_in > 60_000 else 4_000 <= pause <= 6_000


KOLMOGOROV_SMIRNOV_AT_1_PERCENT = 1.63
"""Over the root of how many there are: by chance it is further away in one of a hundred runs."""


def test_the_first_requests_of_two_thousand_pages_are_spread_evenly_over_the_start_window(blank: Page) -> None:
    load(blank, "policy", "Asking")
    people, opens_in_s, window_s = 2_000, 90.0, 8.0
    # Seeded, so that the same page passes every time: a congruential generator with the factor of Numerical Recipes.
    pauses: list[float] = blank.evaluate(
        """([people, opensIn, window]) => {
          let state = 20270206;
          const draw = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
          const policy = { start_window_ms: window * 1000, interval_ms: 1000 };
          return Array.from({ length: people }, () => new Asking(policy, draw).begin(opensIn).pause);
        }""",
        [people, opens_in_s, window_s],
    )
    after = sorted((pause - opens_in_s) / window_s for pause in pauses)
    assert after[0] >= 0, "nobody is early"
    assert after[-1] <= 1
    furthest = max(abs(at - (rank + part) / people) for rank, at in enumerate(after) for part in (0, 1))
    assert furthest <= KOLMOGOROV_SMIRNOV_AT_1_PERCENT / people**0.5


def test_no_timer_runs_longer_than_an_hour_though_an_opening_is_thirty_days_ahead(blank: Page) -> None:
    load(blank, "alarms", "Alarms", "HOP_MS")
    assert blank.evaluate("""() => {
      const waits = [];
      let now = 0;
      const setTimeout = (act, ms) => waits.push([ms, act]);
      const view = { performance: { now: () => now }, setTimeout, clearTimeout() {} };
      let rang = 0;
      new Alarms(view).after("opening", 30 * 86400000, () => { rang += 1; });
      let hops = 0;
      while (!rang) {
        const [ms, act] = waits.pop();
        if (ms > HOP_MS) throw new Error("too long");
        now += ms;
        hops += 1;
        act();
      }
      return [hops, now / 86400000];
    }""") == [720, 30]


def test_the_signs_of_currencies_are_those_that_the_browser_has(blank: Page) -> None:
    known: dict[str, str] = blank.evaluate(
        """(codes) => Object.fromEntries(codes.map((currency) => {
          const how = { style: "currency", currency, currencyDisplay: "narrowSymbol" };
          const parts = new Intl.NumberFormat("zh-CN", how).formatToParts(0);
          return [currency, parts.find((part) => part.type === "currency").value];
        }))""",
        list(EXPONENTS),
    )
    assert {code: sign for code, sign in known.items() if sign != code} == SIGNS


PICTURES = {
    "https://hongbao.example/c/spring#packet=0123456789abcdef0123456789abcdef": ("-4 -4 41 41", "fa29578ece1ac16c"),
    "weixin://wxpay/bizpayurl?pr=q1w2e3r4t5": ("-4 -4 37 37", "4db00c34ac90f9ac"),
    "https://a.example/" + "x" * 900: ("-4 -4 109 109", "5f0183badd1ff2c4"),
}
"""Links, and the SHA-256 of the pictures that zxing-cpp 3.1.1 has read them from."""


def test_a_link_is_drawn_as_a_picture_that_a_camera_reads(blank: Page) -> None:
    folder = files("redrush.page").joinpath("script")
    modules = [folder.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in ("workers", "qr")]
    script = "\n".join(line for text in modules for line in text.splitlines() if not line.startswith("import "))
    blank.add_script_tag(content=qr_library() + script.replace("export ", ""))
    for text, told in PICTURES.items():
        made = blank.evaluate("(text) => drawn(window, text)", text)
        assert (made["box"], sha256(made["path"].encode()).hexdigest()[:16]) == told
    assert blank.evaluate("drawn(window, 'x'.repeat(5000))") is None, "too long for any"
