"""What a packet's pot says of it wherever it is open: all that a gate must know to let people grab (`note_of`).

It is JSON with short names, for a million sleeping packets have one each. It leaves out what is as usual, and the id,
which is the pot's. A field may be added; a name stands for one thing for ever, for notes lie in logs.
"""

from hashlib import blake2b
from typing import Final

import msgspec

from redrush.core.rush.campaign import Kind
from redrush.core.rush.group import ID_SIGNS, For, Packet


class NotAPacket(ValueError):
    """The text is no note of a packet."""


class _Note(msgspec.Struct, omit_defaults=True):
    s: str
    k: Kind
    a: tuple[int, ...]
    c: int
    p: int
    x: int
    g: str = ""
    w: str | None = None
    n: tuple[str, ...] = ()
    f: For = For.EVERYBODY
    o: bool = False
    r: str = ""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Note).decode


def note_of(packet: Packet) -> str:
    """Return the note of a packet that was split. Raises ValueError for one that was not."""
    if not packet.amounts or packet.paid_us is None:
        raise ValueError(f"packet {packet.id} was not split")
    note = _Note(
        s=packet.sender,
        k=packet.kind,
        a=packet.amounts,
        c=packet.created_us,
        p=packet.paid_us,
        x=packet.closes_us,
        g=packet.greeting,
        w=packet.word,
        n=packet.named,
        f=packet.whom,
        o=packet.sponsored,
        r=packet.request,
    )
    return _encode(note).decode()


def packet_in(note: str, id_: str) -> Packet:
    """Return the packet of this id that the note is of. Raises NotAPacket."""
    try:
        said = _decode(note)
    except (msgspec.DecodeError, UnicodeError) as fault:
        raise NotAPacket(f"packet {id_} has a note that is none: {fault}") from None
    return Packet(
        id=id_,
        sender=said.s,
        kind=said.k,
        total_minor=sum(said.a),
        count=len(said.a),
        greeting=said.g,
        word=said.w,
        named=said.n,
        whom=said.f,
        created_us=said.c,
        paid_us=said.p,
        closes_us=said.x,
        amounts=said.a,
        sponsored=said.o,
        request=said.r,
    )


def shared_packet_id(seed: bytes, grant: str) -> str:
    """Return the id of the packet that the winner of this grant shares: the same at every gate, and for nobody to guess
    who has not the seed of the campaign."""
    return blake2b(grant.encode(), key=seed[:64], person=b"redrush.share", digest_size=ID_SIGNS // 2).hexdigest()
