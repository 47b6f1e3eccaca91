"""The figures of the payments part, in whichever form it runs."""

from collections.abc import Iterator

import msgspec

from redrush.core.steering import figures
from redrush.core.steering.figure import Value
from redrush.wiring.paying import PaymentsPart


def payments_figures(part: PaymentsPart) -> Iterator[Value]:
    """Yield what the tellers have done, which providers are away, and what became of notices."""
    for name, teller in part.payments.tellers.items():
        for what, count in msgspec.structs.asdict(teller.counts).items():
            yield figures.BILLS(count, name, what)
    for name, away_s in part.payments.away_s(every=True).items():
        yield figures.PROVIDER_AWAY(away_s, name)
    if part.connected:
        yield figures.NOTICES_REFUSED(part.notices_refused, "not_genuine")
        yield figures.NOTICES_REFUSED(part.payments.refused_notices, "not_ours")
