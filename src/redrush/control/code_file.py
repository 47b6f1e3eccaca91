"""The codes that prizes are: encrypted at rest, in a file beside the seal, and shown to whoever won one.

A line is the codes of one pot, each encrypted by itself with AES-256-GCM (NIST SP 800-38D): a nonce of 12 random bytes,
then what `cryptography` returns. Campaign, pot and place are authenticated with it, so no line can be moved and no two
codes exchanged. A key seals at most some million codes, far below the 2³² at which random nonces could meet. The key is
in the event's keys, so whoever has the directory's copy without `keys.json` has no codes.

Only campaigns that have codes need the extra "codes".
"""

import base64
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from redrush import extras
from redrush.config import CampaignFile, RoundSpec
from redrush.config.code_list import BadCodes, read_codes
from redrush.control.data_dir import DataDir
from redrush.control.durable_file import write_durably
from redrush.control.keys import code_key, load_keys
from redrush.core.rush.campaign import Campaign, prize_pot
from redrush.core.rush.draw import PrizeKind
from redrush.errors import ConfigError

NONCE_BYTES: Final = 12
WHAT: Final = "a campaign with codes"


class _Line(msgspec.Struct, frozen=True):
    pot: str
    codes: list[str]


def seal_codes(file: CampaignFile, rounds: Mapping[str, RoundSpec], data_dir: DataDir) -> None:
    """Write down the codes of these rounds' prizes, encrypted, beside those that are there. A pot that is there is
    replaced: nothing tells of it yet. ConfigError if a list is not what it was when the file was checked, or the disk
    refuses; ExtraMissing."""
    wanted = {
        prize_pot(spec.id, prize.id): prize
        for spec in rounds.values()
        for prize in (() if spec.draw is None else spec.draw.prizes)
        if prize.holds is PrizeKind.CODE
    }
    if not wanted:
        return
    extras.require("codes", WHAT)
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - of an extra

    cipher = AESGCM(code_key(data_dir))
    lines = {line.pot: line for line in _lines(data_dir.codes)}
    for pot, prize in wanted.items():
        path = file.codes[pot]
        try:
            listed = read_codes(path).first(prize.count)
        except (OSError, BadCodes) as fault:
            raise ConfigError(f"{path}: the codes of {pot} cannot be read: {fault}") from None
        if listed.sha256 != prize.codes_sha256:
            raise ConfigError(f"{path}: has changed since the campaign file was read; start again")
        sealed = []
        for index, code in enumerate(listed.codes):
            nonce = secrets.token_bytes(NONCE_BYTES)
            with_it = cipher.encrypt(nonce, code.encode(), _bound_to(file.id, pot, index))
            sealed.append(base64.b64encode(nonce + with_it).decode("ascii"))
        lines[pot] = _Line(pot, sealed)
    try:
        write_durably(data_dir.codes, b"".join(msgspec.json.encode(line) + b"\n" for line in lines.values()))
    except OSError as fault:
        raise ConfigError(f"{data_dir.codes}: cannot be written: {fault.strerror}") from fault


class Codes:
    """Finds the codes of a campaign's pots, decrypting one at a time. Reads the file when it is first asked."""

    def __init__(self, data_dir: DataDir, campaign_id: str) -> None:
        self._data_dir = data_dir
        self._campaign_id = campaign_id
        self._pots: dict[str, list[str]] = {}
        self._key: bytes | None = None

    def check(self, campaign: Campaign) -> None:
        """Raise ConfigError, or ExtraMissing, if the campaign has codes that could not be shown."""
        for pot in campaign.pots:
            prize = None if pot.round.draw is None or pot.prize is None else pot.round.draw.prize(pot.prize)
            if prize is not None and prize.holds is PrizeKind.CODE:
                self(pot.id, pot.slots.count - 1)

    def __call__(self, pot: str, index: int) -> str:
        """Return the code at this place of the pot's list. ConfigError if it cannot be had."""
        extras.require("codes", WHAT)
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - of an extra
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        path = self._data_dir.codes
        if pot not in self._pots:
            self._pots = {line.pot: line.codes for line in _lines(path)}
        key = self._key = self._key or load_keys(self._data_dir).codes
        if key is None:
            raise ConfigError(f"{self._data_dir.keys}: has no key of codes; {self._restore('keys.json')}")
        try:
            raw = base64.b64decode(self._pots[pot][index])
            bound_to = _bound_to(self._campaign_id, pot, index)
            return AESGCM(key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], bound_to).decode()
        except (KeyError, IndexError):
            raise ConfigError(f"{path}: lacks a code of {pot}; {self._restore(path.name)}") from None
        except (InvalidTag, ValueError):
            raise ConfigError(
                f"{path}: a code of {pot} cannot be decrypted: it was changed, or the key is another one; "
                f"{self._restore(path.name)}"
            ) from None

    def _restore(self, name: str) -> str:
        return f"`redrush restore BACKUP --data {self._data_dir.root} --only {name}` puts it back from any backup"


def codes_of(data_dir: DataDir, campaign: Campaign) -> Codes:
    """Return what finds the campaign's codes. ConfigError, or ExtraMissing, if it has codes that could not be shown."""
    codes = Codes(data_dir, campaign.id)
    codes.check(campaign)
    return codes


def _bound_to(campaign_id: str, pot: str, index: int) -> bytes:
    return f"{campaign_id}~{pot}~{index}".encode()


def _lines(path: Path) -> Iterator[_Line]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from fault
    for line in raw.splitlines():
        try:
            yield msgspec.json.decode(line, type=_Line)
        except ValueError as fault:
            raise ConfigError(f"{path}: has a line that is no list of codes: {fault}") from fault
