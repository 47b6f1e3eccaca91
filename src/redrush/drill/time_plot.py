"""What a plot over time shows, apart from how `redrush.drill.charts` draws it: only drawing needs an extra."""

import msgspec


class TimePlot(msgspec.Struct, frozen=True, kw_only=True):
    """Values over time. Bucket k is from k·`bucket_s`; every series has as many values, NaN where there is none."""

    title: str
    note: str
    bucket_s: float
    series: dict[str, list[float]]
    broken: tuple[tuple[float, float], ...]
    """Spans in which something was broken, shaded."""
    unit: str = "per second"
