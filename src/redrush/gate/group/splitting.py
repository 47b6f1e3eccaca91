"""Splits a packet that is paid, once: from then on what each share holds is fixed."""

import secrets
from typing import Final

import msgspec

from redrush.core.money.small_split import split_small
from redrush.core.rush.group import GroupTerms, Packet

SEED_BYTES: Final = 32


def split_packet(packet: Packet, terms: GroupTerms, now_us: int) -> Packet:
    """Return the packet as it is opened: with its amounts, which nobody could foresee, and its deadline."""
    amounts = split_small(
        packet.kind,
        packet.total_minor,
        packet.count,
        secrets.token_bytes(SEED_BYTES),
        share_minor_max=max(terms.share_minor_max, -(-packet.total_minor // packet.count)),
    )
    closes_us = now_us + (packet.lasts_us or terms.expires_us)
    return msgspec.structs.replace(packet, amounts=tuple(amounts), paid_us=now_us, closes_us=closes_us)
