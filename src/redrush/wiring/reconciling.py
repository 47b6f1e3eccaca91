"""What a control port tells of the running reconciliation."""

from redrush.gate.views import Computed
from redrush.http import answers
from redrush.http.site import Site
from redrush.settle.reconcile.watch import Watch

PATH = "/reconcile"


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
