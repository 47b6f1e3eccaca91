"""Addresses of web servers in files, all read alike."""

from redrush.config.toml_file import Wrong
from redrush.core.web_address import parts_of


def check_address(where: str, url: str, what_is_right: str) -> None:
    """Raise Wrong, with what would be right, for what is written at a key and is no address; "": nothing is written."""
    if url and (parts_of(url) is None or not url.isprintable() or " " in url):
        raise Wrong(where, f'"{url}" is no address: {what_is_right}')
