"""What has changed between two moments: rates, quantiles and sums of the processes' counters."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from redrush.core.load.histogram import quantile_us
from redrush.core.steering import figures
from redrush.core.steering.figures import Interface

HOT_MAX: Final = 5
BILLS_DONE: Final = "bills done"
"""Under this name the counter of bills stands of which all is over."""


class Summed:
    """The figures of one process."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.claims: dict[tuple[str | None, str, str], float] = {}
        self.greatest: dict[str, float] = {}
        self.sums: dict[str, float] = {}
        self.of_campaign: dict[str, dict[str | None, float]] = {}
        """The greatest of each figure, by campaign; None: of the first, where a process does not say which."""
        self.of_set: dict[str, dict[str, float]] = {}
        self.counts: list[int] = []
        self.build: dict[str, str | None] = {"version": None, "python": None}
        """Which release it is, on which Python; None of earlier ones, which do not say."""
        self._ahead_s: dict[str, float] = {}
        self._error_s: dict[str, float] = {}
        for row in rows:
            labels, name = row["labels"], row["name"]
            if name == figures.CLAIMS.name:
                key = (labels.get("campaign"), labels["round"], labels["outcome"])
                self.claims[key] = row["value"]
            elif name == figures.ANSWER_SECONDS.name and labels.get("interface") == Interface.GRAB:
                self.counts = row["counts"]
            elif name == figures.BILLS.name:
                if labels["what"] == "done":
                    self.sums[BILLS_DONE] = self.sums.get(BILLS_DONE, 0.0) + row["value"]
            elif name == figures.BUILD.name:
                self.build = {"version": labels["version"], "python": labels["python"]}
            elif name == figures.CLOCK_AHEAD.name:
                self._ahead_s[labels["clock"]] = row["value"]
            elif name == figures.CLOCK_ERROR.name:
                self._error_s[labels["clock"]] = row["value"]
            elif "value" in row:
                self._add(name, labels, row["value"])

    def clocks(self) -> list[dict[str, Any]]:
        """Return the clocks that it hears of."""
        return [
            {"clock": name, "ahead_s": ahead_s, "error_s": self._error_s.get(name)}
            for name, ahead_s in self._ahead_s.items()
        ]

    def _add(self, name: str, labels: Mapping[str, str], value: float) -> None:
        self.greatest[name] = max(value, self.greatest.get(name, value))
        self.sums[name] = self.sums.get(name, 0.0) + value
        of_campaign = self.of_campaign.setdefault(name, {})
        campaign = labels.get("campaign")
        of_campaign[campaign] = max(value, of_campaign.get(campaign, value))
        if (of_set := labels.get("set")) is not None:
            self.of_set.setdefault(of_set, {})[name] = value


class Rates:
    """What has changed between two moments, over all processes."""

    def __init__(self, now: Mapping[str, Summed], before: Mapping[str, Summed], passed_s: float) -> None:
        self._now = now
        self._passed_s = passed_s
        self._claims: dict[tuple[str | None, str, str], float] = {}
        self._totals: dict[tuple[str | None, str, str], float] = {}
        self._of_process: dict[str, float] = {}
        self._counts: list[int] = []
        for name, one in now.items():
            was = before.get(name)
            for key, value in one.claims.items():
                self._totals[key] = self._totals.get(key, 0.0) + value
                if was is not None and passed_s > 0:
                    # A process that was started anew counts from nought.
                    more = max(0.0, value - was.claims.get(key, 0.0))
                    self._claims[key] = self._claims.get(key, 0.0) + more / passed_s
                    self._of_process[name] = self._of_process.get(name, 0.0) + more / passed_s
            if was is not None and one.counts:
                lately = [max(0, a - b) for a, b in zip(one.counts, was.counts or [0] * len(one.counts), strict=True)]
                self._counts = [a + b for a, b in zip(lately, self._counts or [0] * len(lately), strict=True)]

    def of_round(self, campaign: set[str | None], round_id: str) -> dict[str, Any]:
        """Return what becomes of the claims of a round: a second by outcome, and in all. `campaign` has the names that
        it goes by."""
        mine = {key: value for key, value in self._totals.items() if key[1] == round_id and key[0] in campaign}
        rates = {outcome: self._claims.get((of, pot, outcome)) for of, pot, outcome in mine}
        known = [rate for outcome, rate in rates.items() if rate is not None]
        return {
            "outcomes": {outcome: int(value) for (_, _, outcome), value in mine.items()},
            "rates": rates,
            "claims_s": sum(known) if known else None,
            "grants_s": rates.get("granted"),
        }

    def lags(self, campaign: set[str | None]) -> dict[str, float | None]:
        """Return how far what follows a campaign's grants is behind them. `campaign` as of `of_round`."""
        return {
            "records_behind": self._of_campaign(figures.RECORDS_BEHIND.name, campaign, sum),
            "records_behind_s": self._of_campaign(figures.RECORDS_BEHIND_SECONDS.name, campaign, max),
            "payouts_behind_s": self._of_campaign(figures.PAYOUTS_BEHIND.name, campaign, max),
        }

    def _of_campaign(
        self, name: str, campaign: set[str | None], together: Callable[[list[float]], float]
    ) -> float | None:
        found = [one.of_campaign.get(name, {}) for one in self._now.values()]
        values = [value for told in found for of, value in told.items() if of in campaign]
        return together(values) if values else None

    def of_process(self, name: str) -> dict[str, Any]:
        """Return which release one process is, how much it has to do, and how much it may have; None of what it has
        not."""
        one = self._now[name]
        return {
            **one.build,
            "claims_s": self._of_process.get(name),
            "connections": one.sums.get(figures.CONNECTIONS.name),
            "connections_max": one.sums.get(figures.CONNECTIONS_MAX.name),
            "parked": one.sums.get(figures.PARKED.name),
            "level": one.greatest.get(figures.LEVEL.name),
        }

    def hot(self, first: str) -> list[dict[str, Any]]:
        """Return the rounds that are asked most now. `first` is the campaign whose name a process may leave out."""
        found: dict[tuple[str, str], float] = {}
        for (campaign, round_id, _), rate in self._claims.items():
            key = (campaign or first, round_id)
            found[key] = found.get(key, 0.0) + rate
        asked = sorted(((rate, key) for key, rate in found.items() if rate > 0), reverse=True)[:HOT_MAX]
        return [{"campaign": campaign, "round": round_id, "claims_s": rate} for rate, (campaign, round_id) in asked]

    def figures(self) -> dict[str, float | None]:
        """Return what `POINTS` names."""
        granted = [rate for (_, _, outcome), rate in self._claims.items() if outcome == "granted"]
        won = ("granted", "repeat")
        refused = [rate for (_, _, outcome), rate in self._claims.items() if outcome not in won]
        timed = any(self._counts)
        return {
            "claims_s": sum(self._claims.values()) if self._claims else None,
            "grants_s": sum(granted) if granted else None,
            "refused_s": sum(refused) if refused else None,
            "p50_ms": quantile_us(self._counts, 0.5) / 1e3 if timed else None,
            "p99_ms": quantile_us(self._counts, 0.99) / 1e3 if timed else None,
            "level": self._greatest(figures.LEVEL.name),
            "parked": self._sum(figures.PARKED.name),
            "connections": self._sum(figures.CONNECTIONS.name),
            "records_behind": self._sum(figures.RECORDS_BEHIND.name),
            "records_behind_s": self._greatest(figures.RECORDS_BEHIND_SECONDS.name),
            "payouts_behind_s": self._greatest(figures.PAYOUTS_BEHIND.name),
            "problems": self._sum(figures.RECONCILE_PROBLEMS.name),
            "bills_done": self._sum(BILLS_DONE),
            "provider_away_s": self._greatest(figures.PROVIDER_AWAY.name),
            "reconcile_behind": self._sum(figures.RECONCILE_BEHIND.name),
            "unswept_s": self._greatest(figures.RECONCILE_UNSWEPT.name),
        }

    def sets(self) -> list[dict[str, Any]]:
        """Return what is told of each set, the worst of what the processes tell."""
        found: dict[str, dict[str, Any]] = {}
        for one in self._now.values():
            for set_id, values in one.of_set.items():
                row = found.setdefault(set_id, {"set": set_id})
                for name, value in values.items():
                    row[name] = max(value, row.get(name, value))
        return list(found.values())

    def _greatest(self, name: str) -> float | None:
        values = [one.greatest[name] for one in self._now.values() if name in one.greatest]
        return max(values) if values else None

    def _sum(self, name: str) -> float | None:
        values = [one.sums[name] for one in self._now.values() if name in one.sums]
        return sum(values) if values else None
