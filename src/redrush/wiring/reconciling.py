"""The running reconciliation of a log, in whichever form it runs, and what a control port tells of it."""

import asyncio
from collections.abc import Callable
from typing import Any

from redrush.control.sealing import SealedCampaign
from redrush.core.nobody import ignore, never
from redrush.core.rush.holding import PotTables
from redrush.gate.views import Computed
from redrush.http import answers
from redrush.http.site import Site
from redrush.ports.examined import Examinable
from redrush.settle.reconcile.vigil import Vigil
from redrush.settle.reconcile.watch import Watch

PATH = "/reconcile"


def watch_over(
    records: Examinable,
    sealed: SealedCampaign,
    log: Any,
    set_id: str | None = None,
    *,
    pots: PotTables,
    noted: Callable[[str, str], object] = ignore,
    busy: Callable[[], bool] = never,
) -> Watch:
    """Return what holds these records against what was sealed; see `Vigil` and `Watch`. What disagrees is logged."""
    now_s = asyncio.get_running_loop().time
    vigil = Vigil(records, sealed.campaign.id, sealed.amounts, now_s, set_id, pots=pots, noted=noted)
    of_set = {} if set_id is None else {"set": set_id}

    def tell(problem: str) -> None:
        log.critical("the records disagree, see `redrush reconcile`", problem=problem, **of_set)

    return Watch(vigil, tell=tell, busy=busy)


def serve_agreement(site: Site, watch: Watch) -> None:
    """Answer `GET /reconcile` on a control port: 200 while the records agree with the log, else 503."""
    site.add(b"GET", PATH.encode(), Computed(lambda: _agreement(watch)), needs_ticket=False)


def _agreement(watch: Watch) -> bytes:
    problems = watch.stands
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        return answers.problem(503, f"the records disagree: {problems[0]}{more}", problems=list(problems))
    return answers.json_answer(
        {"status": "agrees", "behind": watch.behind, "compared": watch.compared, "sweep_seconds": watch.sweep_took_s}
    )
