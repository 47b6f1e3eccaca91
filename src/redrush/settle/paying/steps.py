"""What becomes of a bill when its provider has answered, or has not: pure, so that every case is one test.

    new ──start──► asked ──► pending / confirming / open ──► done, failed, cancelled, closed
     ▲               │            ▲            │
     └── Absent, ────┘            └─ queries ──┘         open ── its time is over ──► closing ──► closed, done
         after the longest silence

Nothing ends on a refusal of `start` alone: an earlier try of the same number may have been heard, so the provider is
asked once more, and only what it does not know has failed. Money is booked on a query's answer, never on a notice's.
"""

from typing import Any, Final

import msgspec

from redrush.core.money.numbers import bill_number
from redrush.ports.bill_book import BillState, Change, KeptBill
from redrush.ports.provider import (
    Absent,
    Accepted,
    Cancelled,
    Cancelling,
    Closed,
    Confirming,
    Done,
    Failed,
    NeedsConfirmation,
    Open,
    Paid,
    Pending,
    Rejected,
    Started,
    Terms,
    Unknown,
)

SECOND_US: Final = 1_000_000

REFUSED: Final = "refused: "
"""So begins the detail of a bill that the provider did not accept, until a query has shown that it does not have it."""

RETRY_MIN_S: Final = 1.0
"""At the least so long after a refusal for now."""

Answer = (
    Started | Accepted | NeedsConfirmation | Rejected | Unknown | Absent | Open | Paid | Closed | Pending | Confirming
    | Done | Failed | Cancelled | Cancelling
)  # fmt: skip


def after(bill: KeptBill, answer: Answer, terms: Terms, now_us: int) -> Change:  # noqa: C901 - one case a line
    """Return what becomes of the bill by this answer, whatever was asked."""
    match answer:
        case Started():
            state = bill.state if bill.state is BillState.CLOSING else BillState.OPEN
            shown = f"{answer.kind}:{answer.payload}"
            return _to(bill, state, terms, now_us, detail=shown, reference=answer.reference or None)
        case Accepted():
            return _to(bill, BillState.PENDING, terms, now_us, reference=answer.reference or None)
        case NeedsConfirmation() | Confirming():
            return _to(bill, BillState.CONFIRMING, terms, now_us, detail=answer.package, expires_us=answer.until_us)
        case Pending() | Cancelling():
            return _to(bill, BillState.PENDING, terms, now_us)
        case Open():
            return _opened(bill, terms, now_us)
        case Paid() | Done():
            return _moved(bill, answer, now_us)
        case Closed():
            return _ended(bill, BillState.CLOSED, "nobody paid", now_us)
        case Failed():
            return _ended(bill, BillState.FAILED, answer.why, now_us)
        case Cancelled():
            return _ended(bill, BillState.CANCELLED, answer.why, now_us)
        case Absent():
            return _absent(bill, terms, now_us)
        case Rejected():
            return _rejected(bill, answer, terms, now_us)
        case Unknown():
            return _later(bill, terms, now_us, answer.retry_after_s)


def unasked(bill: KeptBill, now_us: int, pause_s: float) -> Change:
    """Return what becomes of a bill that was to be started, when its provider was certainly not asked."""
    return _change(bill, BillState.NEW, now_us, now_us + int(max(pause_s, RETRY_MIN_S) * SECOND_US))


def again(bill: KeptBill, now_us: int, *, covered_minor: int | None) -> Change:
    """Return the next attempt of a payout or refund that has ended without moving anything: a new number, for certain.

    Its money went back, so it is set aside anew: of a payout `covered_minor` says what the user was granted in all,
    None that nobody need ask. ValueError for any other bill.
    """
    if bill.state not in (BillState.FAILED, BillState.CANCELLED):
        raise ValueError(f"{bill.kind} {bill.source} is {bill.state}: only what has failed or was cancelled is retried")
    attempt = bill.attempt + 1
    postings = msgspec.structs.replace(bill.billed, attempt=attempt).made(now_us)
    number = bill_number(bill.kind, bill.source, attempt)
    return _change(
        bill, BillState.NEW, now_us, now_us,
        number=number, attempt=attempt, detail="", postings=postings, covered_minor=covered_minor,
    )  # fmt: skip


def charged(bill: KeptBill, fee_minor: int, now_us: int) -> Change:
    """Return a bill that has moved, and of which the provider tells only now what it kept of it, once; whether it is to
    be looked at stays as it was. ValueError for any other."""
    if bill.state not in (BillState.DONE, BillState.PAID_LATE) or bill.fee_minor:
        raise ValueError(f"{bill.kind} {bill.source} is {bill.state}, with a fee of {bill.fee_minor}")
    postings = bill.billed.charged(fee_minor, now_us)
    return _change(
        bill, bill.state, bill.changed_us, bill.next_us, looks=bill.looks, fee_minor=fee_minor, postings=postings
    )


def renewed(bill: KeptBill, terms: Terms, now_us: int) -> Change | None:
    """Return a payment whose link is not good any more and whose payer asks for it: the same number is asked for
    another one. None where what was shown still holds."""
    if bill.state is not BillState.OPEN or bill.how != "redirect" or terms.link_s is None:
        return None
    is_good = now_us < (bill.asked_us or 0) + int(terms.link_s * SECOND_US)
    is_over = bill.expires_us is not None and bill.expires_us <= now_us
    return None if is_good or is_over else _change(bill, BillState.NEW, now_us, now_us)


def look(bill: KeptBill, now_us: int) -> Change:
    """Return a final bill that is asked for once more, because a notice says otherwise."""
    return _change(bill, bill.state, bill.changed_us, now_us)


def held(bill: KeptBill, why: str, now_us: int) -> Change:
    """Return a bill that waits for a person."""
    return _change(bill, BillState.HELD, now_us, None, detail=why)


def released(bill: KeptBill, now_us: int) -> Change:
    """Return a held bill that goes on: asked for first, if its provider may have heard of it. Else ValueError."""
    if bill.state is not BillState.HELD:
        raise ValueError(f"{bill.kind} {bill.source} is {bill.state}: only what is held is released")
    state = BillState.NEW if bill.asked_us is None else BillState.ASKED
    return _change(bill, state, now_us, now_us, detail="")


def _opened(bill: KeptBill, terms: Terms, now_us: int) -> Change:
    if bill.expires_us is not None and bill.expires_us <= now_us:
        return _change(bill, BillState.CLOSING, now_us, now_us)
    if not bill.detail or bill.detail.startswith(REFUSED):
        # The answer of the start was lost, and with it what people pay by: the same number says it again.
        return _change(bill, BillState.NEW, now_us, now_us)
    return _to(bill, BillState.OPEN, terms, now_us)


def _moved(bill: KeptBill, answer: Paid | Done, now_us: int) -> Change:
    if (answer.amount_minor, answer.currency) != (bill.amount_minor, bill.currency):
        why = f"{bill.provider} moved {answer.amount_minor} {answer.currency}, the bill is {bill.amount_minor}"
        return held(bill, why, now_us)
    if bill.state in (BillState.DONE, BillState.PAID_LATE):
        return _change(bill, bill.state, bill.changed_us, None)
    at_us = answer.paid_us if isinstance(answer, Paid) else answer.done_us
    postings = bill.billed.moved(answer.fee_minor, at_us)
    late = bill.is_final  # it was said to have ended, and what that meant is taken back
    if late:
        postings = bill.billed.revived(now_us) + postings
    return _change(
        bill,
        BillState.PAID_LATE if late else BillState.DONE,
        now_us,
        None,
        reference=answer.reference,
        fee_minor=answer.fee_minor,
        done_us=at_us,
        postings=postings,
    )


def _ended(bill: KeptBill, state: BillState, why: str, now_us: int) -> Change:
    if bill.is_final:
        return _change(bill, bill.state, bill.changed_us, None)
    return _change(bill, state, now_us, None, detail=why, postings=bill.billed.ended(now_us))


def _absent(bill: KeptBill, terms: Terms, now_us: int) -> Change:
    if terms.opens_late and bill.state in (BillState.OPEN, BillState.CLOSING) and (bill.expires_us or 0) > now_us:
        return _to(bill, bill.state, terms, now_us)  # nobody has begun to pay, and until then somebody may
    silent_until_us = (bill.asked_us or 0) + int(terms.longest_silence_s * SECOND_US)
    if now_us < silent_until_us:
        return _change(bill, bill.state, now_us, silent_until_us, looks=bill.looks + 1)
    if bill.state is BillState.PENDING and bill.reference:
        return held(bill, f"{bill.provider} had accepted it and does not know it any more", now_us)
    if bill.detail.startswith(REFUSED):
        return _ended(bill, BillState.FAILED, bill.detail.removeprefix(REFUSED), now_us)
    if bill.kind == "payin" and bill.expires_us is not None and bill.expires_us <= now_us:
        return _ended(bill, BillState.CLOSED, "nobody paid", now_us)
    return _change(bill, BillState.NEW, now_us, now_us)


def _rejected(bill: KeptBill, answer: Rejected, terms: Terms, now_us: int) -> Change:
    if answer.final:
        # Asked for once the provider certainly knows what it has: then this was its last word.
        look_us = (bill.asked_us or now_us) + int(terms.longest_silence_s * SECOND_US)
        return _change(bill, BillState.ASKED, now_us, look_us, detail=REFUSED + answer.why)
    if bill.state is BillState.ASKED:
        pause_s = max(answer.retry_after_s or 0.0, RETRY_MIN_S)
        return _change(bill, BillState.NEW, now_us, now_us + int(pause_s * SECOND_US))
    return _later(bill, terms, now_us, answer.retry_after_s)


def _later(bill: KeptBill, terms: Terms, now_us: int, pause_s: float | None) -> Change:
    """It stays where it is, and is asked for again."""
    wait_s = max(terms.looks_s[min(bill.looks, len(terms.looks_s) - 1)], pause_s or 0.0)
    return _change(bill, bill.state, now_us, now_us + int(wait_s * SECOND_US), looks=bill.looks + 1)


def _to(
    bill: KeptBill,
    state: BillState,
    terms: Terms,
    now_us: int,
    *,
    detail: str | None = None,
    expires_us: int | None = None,
    reference: str | None = None,
) -> Change:
    """The provider has it: it is asked for on, soon at first, and when its time is over."""
    looks = bill.looks + 1 if state is bill.state else 0
    wait_s = terms.looks_s[min(looks, len(terms.looks_s) - 1)]
    next_us = now_us + int(wait_s * SECOND_US)
    until_us = bill.expires_us if expires_us is None else expires_us
    if until_us is not None:
        next_us = max(now_us, min(next_us, until_us)) if until_us > now_us else next_us
    return _change(bill, state, now_us, next_us, looks=looks, detail=detail, expires_us=expires_us, reference=reference)


def _change(bill: KeptBill, state: BillState, now_us: int, next_us: int | None, **more: Any) -> Change:
    fields = {"looks": 0, **more}
    return Change(id=bill.id, version=bill.version, state=state, next_us=next_us, changed_us=now_us, **fields)
