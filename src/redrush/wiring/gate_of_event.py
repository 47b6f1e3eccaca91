"""The gate of an event, made alike in every form: what a campaign says of asking, waiting and tickets ends here."""

from collections.abc import Callable, Container, Sequence

from redrush.control.event import OpenTerms
from redrush.control.keys import Keys
from redrush.control.sealing import SealedCampaign
from redrush.core.rush.campaign import Pot
from redrush.core.rush.clocks import ClockCheck
from redrush.gate.asking import asking_limits
from redrush.gate.assembly import build_gate
from redrush.gate.campaign import Event
from redrush.gate.gate import Gate
from redrush.gate.grants import CodesOf
from redrush.gate.group.parts import GroupParts
from redrush.gate.manners import Home
from redrush.http.reader import Limits
from redrush.ports.store import StoreFailed


def gate_of_event(  # noqa: PLR0913 - the event, and where its gate stands
    sealed: SealedCampaign,
    terms: OpenTerms,
    keys: Keys,
    audience: Container[str] | None,
    limits: Limits,
    homes: Callable[[Pot], Sequence[Home]],
    *,
    now_us: Callable[[], int],
    failed: Callable[[StoreFailed], None],
    clock_check: ClockCheck,
    group: GroupParts | None = None,
    codes: CodesOf | None = None,
) -> Gate:
    """Return the gate, as `build_gate` does. `limits` are those of `terms.gate`, as far as this process has files."""
    event = Event(
        campaign=sealed.campaign,
        amounts=sealed.amounts,
        tickets=keys.tickets,
        receipts=keys.receipts,
        audience=audience,
        policy=terms.client,
        proof_of_work=terms.proof_of_work,
        admission=terms.admission,
        group=terms.group,
        group_parts=group,
        seed=sealed.seed,
        page=terms.page,
        payout=terms.payout,
        messages=terms.messages,
        draw_keys=sealed.draw_keys,
        codes=codes,
    )
    return build_gate(
        event,
        limits,
        homes,
        now_us=now_us,
        failed=failed,
        asking=asking_limits(terms.limits, terms.client, limits.connections_max),
        clock_check=clock_check,
    )
