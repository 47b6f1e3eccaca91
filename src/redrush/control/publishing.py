"""Writing the participants' page of a campaign as static files."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from redrush.config import CampaignFile
from redrush.control.sealing import campaign_of
from redrush.control.urls import origin_url
from redrush.core.web_address import is_address
from redrush.errors import ConfigError
from redrush.page.content import content_of
from redrush.page.document import page_of
from redrush.page.site import site_files
from redrush.page.sounds import sound_files


class Published(msgspec.Struct, frozen=True):
    """What was written: the paths, and how many bytes the page is as it travels."""

    out: str
    files: tuple[str, ...]
    compressed_bytes: int

    def lines(self) -> list[str]:
        """Return it in sentences."""
        return [
            f"{self.out}: {len(self.files)} files; the page is {self.compressed_bytes:,} bytes compressed",
            f"serve them with {self.out}/nginx.conf, or put them on any CDN with the headers of _headers",
        ]


def publish(file: CampaignFile, out: Path, gates: Sequence[str], now_us: int, *, direct: bool = False) -> Published:
    """Write the page of the campaign to the directory, over what was there of it; `gates` are the origins of the gates.

    `direct`: pages ask the gates themselves, by `gate.origins`; else what serves the page passes claims on to them.
    `now_us` stands for "now" in the file; pages learn from the state file what it became. ConfigError if the disk
    refuses, or if nginx cannot pass claims on to such gates.
    """
    campaign = campaign_of(file, now_us)
    asked = tuple(origin_url("--gate", gate) for gate in gates)
    if not direct:
        _check_one_way(asked)
    content = content_of(
        campaign,
        file.client,
        file.page,
        proves=file.proof_of_work is not None,
        group=file.group,
        gates=asked if direct else ("",),
        state=asked[0] if direct else "",
    )
    page = page_of(content, file.page, own=asked if direct else (), policy_inside=True)
    made = site_files(
        page,
        campaign.id,
        str(out.absolute()),
        () if direct else asked,
        sounds=sound_files(campaign.id, file.page.sounds),
        offline=file.page.offline,
    )
    try:
        for name, body in made.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f"{path.name}.new")
            beside.write_bytes(body)
            beside.replace(path)  # a visitor gets the old page or the new one, never half of one
    except OSError as fault:
        raise ConfigError(f"{out}: the page cannot be written: {fault.strerror}") from fault
    return Published(str(out), tuple(sorted(made)), len(made["index.html.gz"]))


def _check_one_way(gates: Sequence[str]) -> None:
    """Raise ConfigError for gates that one upstream of nginx cannot be: it has one scheme, and one name to look for in
    certificates, which is no address."""
    parts = [urlsplit(gate) for gate in gates]
    if {part.scheme for part in parts} == {"http"}:
        return
    names = {part.hostname or "" for part in parts}
    if len({part.scheme for part in parts}) > 1 or len(names) > 1 or is_address(names.pop()):
        raise ConfigError(
            "--gate: nginx passes claims on either to http gates, or to https by one name, which their certificates "
            f"have (not an address), unlike {', '.join(gates)}: give them so, or let pages ask them with --direct"
        )
