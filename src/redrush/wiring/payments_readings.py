"""The figures of the payments part, in whichever form it runs."""

from collections.abc import Iterator

import msgspec

from redrush.core.steering import figures
from redrush.core.steering.figure import Value
from redrush.wiring.paying import PaymentsPart


def payments_figures(part: PaymentsPart) -> Iterator[Value]:
    """Yield what the tellers have done, which providers are away, how long payouts take, and what became of notices."""
    for name, teller in part.payments.tellers.items():
        for what, count in msgspec.structs.asdict(teller.counts).items():
            yield figures.BILLS(count, name, what)
    for name, away_s in part.payments.away_s(every=True).items():
        yield figures.PROVIDER_AWAY(away_s, name)
    behind_s = part.payments.under_way.behind_s()
    for campaign in sorted({*part.campaigns, *behind_s}) if part.connected else ():
        yield figures.PAYOUTS_BEHIND(behind_s.get(campaign, 0.0)).of_campaign(campaign)
    if part.connected:
        yield figures.NOTICES_REFUSED(part.notices_refused, "not_genuine")
        yield figures.NOTICES_REFUSED(part.payments.refused_notices, "not_ours")
