"""Sealing: what a campaign file leaves open is settled once, before the opening, and never changes again.

"now" becomes an instant, every round's total is split into amounts from a fresh seed, and the whole is written down
durably. A restart reads the seal; it splits nothing. A campaign file that has changed since is refused, because
grants may already have been given under the old one.
"""

import hashlib
import secrets
from array import array
from sys import byteorder
from typing import TYPE_CHECKING, Any

import msgspec

from redrush.config import CampaignFile, RoundSpec
from redrush.control.code_file import seal_codes
from redrush.control.data_dir import DataDir
from redrush.control.differences import differences_of, rounds_of
from redrush.control.durable_file import write_durably
from redrush.core.rush.campaign import Campaign, Round, Slots
from redrush.core.rush.draw import draw_key
from redrush.core.rush.holding import SlotTable, parts_of
from redrush.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

VERSION = 2
UNHASHED_VERSION = 1
"""Campaigns that were sealed by the version before do not say their own hash."""

SEED_BYTES = 32

BUDGET_FIXED = "the budget was fixed when the campaign was sealed, and nothing changes it"

_HASH_KEY = b',\n  "sha256": "'


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `campaign.json`. Secret until the event is over: the seed tells every amount."""

    version: int
    campaign: Campaign
    seed: str
    """Hex. Round k is split with BLAKE2b(seed, person="round", salt=k)."""
    amounts_sha256: str
    source_sha256: str
    """Of what may not change in the campaign file (id, currency, rounds), to refuse another one."""
    rounds_as_written: list[dict[str, Any]] | None = None
    """The rounds in order of the file, to say what differs. None in what earlier releases have sealed."""


class SealedCampaign(msgspec.Struct, frozen=True):
    """A campaign with the table of what its slots hold: `amounts[slot]` in minor units, 0 for no money."""

    campaign: Campaign
    amounts: SlotTable
    seed: bytes = b""
    """What everything of chance was drawn with, or is while the event runs. Secret until it is over."""
    draw_keys: dict[str, bytes] = {}
    """Of each round that is a draw, the key of its lots (`redrush.core.rush.draw`). Secret until the event is over."""

    def gone_on(self, amended: "SealedCampaign") -> "SealedCampaign":
        """Return what is sealed with what an amendment has added, in the same tables: whoever reads them sees them
        grow, and nothing in them ever changes."""
        table = self.amounts
        assert isinstance(table.amounts, array)
        table.amounts.extend(amended.amounts[len(table) :])
        table.set_parts(amended.amounts.parts)
        self.draw_keys.update(amended.draw_keys)
        return msgspec.structs.replace(self, campaign=amended.campaign)


def seal(file: CampaignFile, data_dir: DataDir, now_us: int) -> SealedCampaign:
    """Return the sealed campaign of the directory, sealing `file` there if nothing is sealed yet.

    `now_us` is what "now" means. Raises ConfigError if another campaign is sealed there or the disk refuses.
    """
    if is_sealed(file, data_dir):
        return load_sealed(data_dir)
    return _seal_new(file, data_dir, now_us)


def is_sealed(file: CampaignFile, data_dir: DataDir) -> bool:
    """Whether the campaign of the file is sealed in the directory already; False if nothing is.

    ConfigError, with what differs and what can be done, if another one is sealed there.
    """
    if not data_dir.campaign.exists():
        return False
    sealed = _read_seal(data_dir)
    if sealed.source_sha256 == source_sha256(file):
        return True
    differs = "".join(f"\n  {difference}" for difference in _differences(sealed, file))
    raise ConfigError(
        f'{data_dir.root}: campaign "{sealed.campaign.id}" is sealed here and the campaign file has changed since:'
        f"{differs}\nUndo that in the file, or start the changed campaign as an event of its own, in a new directory "
        f"with --keys-from {data_dir.root}: tickets that were issued stay good. What was granted here stays here."
    )


def source_sha256(file: CampaignFile) -> str:
    """Return the SHA-256 of what may not change in the file by itself: id, currency, rounds."""
    rounds = rounds_of(file)
    for round_ in rounds:
        del round_["opens_text"]  # one instant may be written in several ways
    budget = () if file.budget_minor is None else (file.budget_minor,)
    return hashlib.sha256(msgspec.json.encode((file.id, file.currency, rounds, *budget))).hexdigest()


def _differences(sealed: Sealed, file: CampaignFile) -> list[str]:
    campaign = sealed.campaign
    told = [] if campaign.budget_minor == file.budget_minor else [BUDGET_FIXED]
    return [
        *told,
        *differences_of((campaign.id, campaign.currency), sealed.rounds_as_written or rounds_of(campaign), file),
    ]


def load_campaign(data_dir: DataDir) -> Campaign:
    """Return the campaign that is sealed in the directory, without its amounts. ConfigError if there is none."""
    data_dir.require()
    return _read_seal(data_dir).campaign


def load_sealed(data_dir: DataDir) -> SealedCampaign:
    """Return the sealed campaign of the directory. ConfigError if there is none, or its amounts do not match."""
    data_dir.require()
    sealed = _read_seal(data_dir)
    try:
        raw = data_dir.amounts.read_bytes()
    except OSError as fault:
        raise ConfigError(
            f"{data_dir.amounts}: cannot be read: {fault.strerror}; {_restore(data_dir, 'amounts.i64')}"
        ) from fault
    if hashlib.sha256(raw).hexdigest() != sealed.amounts_sha256:
        raise ConfigError(f"{data_dir.amounts}: is not the table that was sealed; {_restore(data_dir, 'amounts.i64')}")
    amounts = array("q", raw)
    if byteorder == "big":
        amounts.byteswap()
    return _sealed_campaign(sealed.campaign, amounts, bytes.fromhex(sealed.seed))


def _sealed_campaign(campaign: Campaign, amounts: "array[int]", seed: bytes) -> SealedCampaign:
    # The slots are numbered in order of the file, and so are the seeds.
    in_file = sorted(campaign.rounds, key=lambda round_: round_.slots.first)
    keys = {
        round_.id: draw_key(_round_seed(seed, index)) for index, round_ in enumerate(in_file) if round_.draw is not None
    }
    return SealedCampaign(campaign, SlotTable(amounts, parts_of(campaign)), seed, keys)


def seal_sha256(data_dir: DataDir) -> str:
    """Return the SHA-256 of the file of the sealed campaign. ConfigError if it cannot be read."""
    return hashlib.sha256(_read(data_dir)).hexdigest()


def _read(data_dir: DataDir) -> bytes:
    try:
        return data_dir.campaign.read_bytes()
    except OSError as fault:
        raise ConfigError(f"{data_dir.campaign}: cannot be read: {fault.strerror}") from fault


def _read_seal(data_dir: DataDir) -> Sealed:
    raw = _read(data_dir)
    content, key, stated = raw.rpartition(_HASH_KEY)
    if key and stated != b'%b"\n}' % hashlib.sha256(content).hexdigest().encode():
        raise ConfigError(
            f"{data_dir.campaign}: was changed since it was sealed, its hash is another one; "
            f"{_restore(data_dir, 'campaign.json')}"
        )
    try:
        sealed = msgspec.json.decode(raw, type=Sealed)
    except ValueError as fault:  # not JSON, not these fields, not UTF-8
        raise ConfigError(
            f"{data_dir.campaign}: is not a sealed campaign: {fault}; {_restore(data_dir, 'campaign.json')}"
        ) from fault
    if sealed.version not in {UNHASHED_VERSION, VERSION}:
        raise ConfigError(f"{data_dir.campaign}: has version {sealed.version}; this redrush reads version {VERSION}")
    if sealed.version == VERSION and not key:
        raise ConfigError(f"{data_dir.campaign}: does not say its hash any more; {_restore(data_dir, 'campaign.json')}")
    return sealed


def _restore(data_dir: DataDir, name: str) -> str:
    """Return what helps where a file that never changes is not as it was."""
    return f"`redrush restore BACKUP --data {data_dir.root} --only {name}` puts it back from any backup"


def _sealed_text(sealed: Sealed) -> bytes:
    """Return the content of `campaign.json`: its last key is the SHA-256 of all that stands before that key."""
    content = msgspec.json.format(msgspec.json.encode(sealed)).removesuffix(b"\n}")
    return b'%b%b%b"\n}' % (content, _HASH_KEY, hashlib.sha256(content).hexdigest().encode())


def _seal_new(file: CampaignFile, data_dir: DataDir, now_us: int) -> SealedCampaign:
    # numpy is imported only where something is split: a restart, which reads the seal, is quicker without it.
    import numpy as np  # noqa: PLC0415

    seed = secrets.token_bytes(SEED_BYTES)
    amounts = np.concatenate(
        [amounts_of_round(spec, _round_seed(seed, index)) for index, spec in enumerate(file.rounds)]
    )
    raw = amounts.astype("<i8").tobytes()
    campaign = campaign_of(file, now_us)
    sealed = Sealed(
        version=VERSION,
        campaign=campaign,
        seed=seed.hex(),
        amounts_sha256=hashlib.sha256(raw).hexdigest(),
        source_sha256=source_sha256(file),
        rounds_as_written=rounds_of(file),
    )
    seal_codes(file, {spec.id: spec for spec in file.rounds}, data_dir)
    try:
        write_durably(data_dir.amounts, raw)
        write_durably(data_dir.campaign, _sealed_text(sealed))
    except OSError as fault:
        raise ConfigError(f"{data_dir.root}: the campaign cannot be sealed: {fault.strerror}") from fault
    return _sealed_campaign(campaign, array("q", amounts.tolist()), seed)


def amounts_of_round(spec: RoundSpec, seed: bytes) -> "npt.NDArray[np.int64]":
    """Return what the slots of a new round are worth, in their order, by a seed of its own."""
    import numpy as np  # noqa: PLC0415 - see `_seal_new`

    from redrush.core.money.splitting import split  # noqa: PLC0415

    if spec.draw is not None:
        return np.repeat(
            np.array([prize.each_minor for prize in spec.draw.prizes], np.int64),
            [prize.count for prize in spec.draw.prizes],
        )
    if spec.sale is not None:
        return np.zeros(spec.packets, np.int64)
    return split(spec.kind, spec.total_minor, spec.packets, spec.min_minor, spec.max_minor, seed)


def campaign_of(file: CampaignFile, now_us: int) -> Campaign:
    """Return the campaign of the file; `now_us` is what "now" means."""
    return Campaign(
        id=file.id,
        name=file.name,
        currency=file.currency,
        rounds=_rounds(file, now_us),
        timezone=file.timezone,
        budget_minor=file.budget_minor,
        rehearsal=file.rehearsal,
    )


def _rounds(file: CampaignFile, now_us: int) -> tuple[Round, ...]:
    """Return the rounds in order of their opening, their slots numbered through the campaign in order of the file."""
    rounds = []
    first = 0
    for spec in file.rounds:
        rounds.append(round_of(spec, now_us, Slots(first, spec.packets)))
        first += spec.packets
    return tuple(sorted(rounds, key=lambda round_: round_.opens_us))


def round_of(spec: RoundSpec, now_us: int, slots: Slots) -> Round:
    """Return the round as it is sealed with these slots; `now_us` is what "now" means."""
    opens_us = now_us if spec.opens_us is None else spec.opens_us
    return Round(
        id=spec.id,
        opens_us=opens_us,
        closes_us=opens_us + spec.lasts_us,
        kind=spec.kind,
        total_minor=spec.total_minor,
        min_minor=spec.min_minor,
        max_minor=spec.max_minor,
        slots=slots,
        leftover=spec.leftover,
        release_per_s=spec.release_per_s,
        share=spec.share,
        line=spec.line,
        draw=spec.draw,
        sale=spec.sale,
    )


def _round_seed(seed: bytes, index: int) -> bytes:
    return hashlib.blake2b(seed, person=b"round", salt=index.to_bytes(8, "little")).digest()
