"""What a server under a drill is seen to be from outside: its memory, and what its control port tells of itself."""

import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

SAMPLE_S: Final = 0.2
ASK_DEADLINE_S: Final = 0.5
"""A control port that does not answer by then is left out of the sample: it is being overloaded after all."""


class Sample(msgspec.Struct, frozen=True):
    """The server at one moment, in seconds of the crowd's axis; metrics by their whole name, with labels."""

    at_s: float
    resident_bytes: int
    metrics: dict[str, float]


class ServerWatch:
    """Samples a process and its control port; call `look` as often as you like."""

    def __init__(self, pid: int, control_url: str, zero_s: float) -> None:
        """`zero_s`: the zero of the crowd's axis, in seconds since the epoch."""
        self.samples: list[Sample] = []
        self._pid = pid
        self._url = f"{control_url}/metrics"
        self._zero_s = zero_s
        self._next_s = 0.0

    def look(self) -> None:
        """Take a sample, if it is time for one."""
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + SAMPLE_S
        at_s = time.time() - self._zero_s
        self.samples.append(Sample(at_s, resident_bytes(self._pid), self._metrics()))

    def resident_max(self, from_s: float, to_s: float) -> int:
        """Return the most bytes that were resident between two instants of the crowd's axis; 0 if nobody looked."""
        return max((one.resident_bytes for one in self.samples if from_s <= one.at_s < to_s), default=0)

    def series(self, metric: str, edges_s: NDArray[np.float64]) -> list[float]:
        """Return, per bucket, the last value of a metric at its end; NaN before the first."""
        times_s = np.array([one.at_s for one in self.samples])
        values = np.array([one.metrics.get(metric, np.nan) for one in self.samples])
        if not len(times_s):
            return [float("nan")] * (len(edges_s) - 1)
        last = np.searchsorted(times_s, edges_s[1:], side="right") - 1
        found: list[float] = np.where(last >= 0, values[last.clip(0)], np.nan).tolist()
        return found

    def _metrics(self) -> dict[str, float]:
        try:
            with urllib.request.urlopen(self._url, timeout=ASK_DEADLINE_S) as answer:  # noqa: S310 - our own server
                lines = answer.read().decode().splitlines()
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return {}
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


def resident_bytes(pid: int) -> int:
    """Return what the process has in memory now. Raises OSError if it is gone."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} has no memory any more")
