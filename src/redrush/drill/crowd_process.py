"""The crowd in a process of its own: its core does nothing but send, and its collector never runs during a rush.

The parent gets progress and, at the end, the result through one pipe. A parent that dies takes the crowd with it: the
next progress finds the pipe broken.
"""

import asyncio
import gc
import multiprocessing
import os
from multiprocessing.connection import Connection
from types import TracebackType

import uvloop

from redrush.drill.crowd import Crowd, CrowdFailed, CrowdPlan, CrowdProgress, CrowdResult
from redrush.errors import RedrushError
from redrush.processes.side import end, start_deaf


class CrowdProcess:
    """A context, for the main thread: the crowd starts on entry and is ended on exit.

    It has a core of its own if one is named.
    """

    def __init__(self, plan: CrowdPlan, core: int | None = None) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, self._child_pipe = spawn.Pipe(duplex=False)
        self._process = spawn.Process(target=_run, args=(plan, self._child_pipe, core), daemon=True, name="crowd")

    def __enter__(self) -> "CrowdProcess":
        start_deaf(self._process)
        self._child_pipe.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.terminate()
        end(self._process)
        self._pipe.close()

    def next_report(self, wait_s: float) -> CrowdProgress | CrowdResult | None:
        """Return the newest progress, or the result, or None if nothing came within `wait_s`.

        Raises CrowdFailed if the crowd could not begin or its process died.
        """
        newest: CrowdProgress | None = None
        while self._pipe.poll(0 if newest else wait_s):
            try:
                report = self._pipe.recv()
            except EOFError:
                raise CrowdFailed("the crowd's process died") from None
            if isinstance(report, str):
                raise CrowdFailed(report)
            if isinstance(report, CrowdResult):
                return report
            newest = report
        return newest


def _run(plan: CrowdPlan, pipe: "Connection[object, object]", core: int | None) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(_played(plan, pipe))
        pipe.send(result)
    except RedrushError as fault:
        pipe.send(str(fault))
    except BrokenPipeError:
        return


async def _played(plan: CrowdPlan, pipe: "Connection[object, object]") -> CrowdResult:
    return await Crowd(plan, pipe.send).run()
