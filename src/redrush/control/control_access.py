"""How operators' commands find and enter the control port of a running server: its token, and where it is."""

import secrets
from typing import Final

import msgspec

from redrush.control.data_dir import DataDir
from redrush.control.durable_file import create_durably, write_durably
from redrush.errors import ConfigError
from redrush.http.ask import ControlAddress

TOKEN_BYTES: Final = 32


def load_or_create_token(data_dir: DataDir) -> str:
    """Return the token of the directory, drawn from the system's randomness if there is none yet.

    ConfigError if the disk refuses.
    """
    if not data_dir.control_token.exists():
        try:
            create_durably(data_dir.control_token, f"{secrets.token_urlsafe(TOKEN_BYTES)}\n".encode("ascii"))
        except OSError as fault:
            raise ConfigError(f"{data_dir.control_token}: cannot be made: {fault.strerror}") from fault
    return load_token(data_dir)


def load_token_if_any(data_dir: DataDir) -> str | None:
    """Return the token of the directory, or None if it was prepared without. ConfigError if it cannot be read."""
    return load_token(data_dir) if data_dir.control_token.exists() else None


def load_token(data_dir: DataDir) -> str:
    """Return the token of the directory. ConfigError if there is none."""
    try:
        token = data_dir.control_token.read_text(encoding="ascii").strip()
    except OSError as fault:
        raise ConfigError(f"{data_dir.control_token}: cannot be read: {fault.strerror}") from fault
    except UnicodeDecodeError:
        token = ""
    if len(token) < TOKEN_BYTES:
        raise ConfigError(f"{data_dir.control_token}: is not a control token; delete it and start the server again")
    return token


def keep_address(data_dir: DataDir, address: ControlAddress) -> None:
    """Write down where the control port is. ConfigError if the disk refuses."""
    try:
        write_durably(data_dir.control_port, msgspec.json.encode(address))
    except OSError as fault:
        raise ConfigError(f"{data_dir.control_port}: cannot be written: {fault.strerror}") from fault


def forget_address(data_dir: DataDir) -> None:
    """Write down that there is no control port. A crash leaves the address behind, so nobody relies on this."""
    data_dir.control_port.unlink(missing_ok=True)


def load_address(data_dir: DataDir) -> ControlAddress:
    """Return where the control port of the running server is. ConfigError if it has none."""
    try:
        return msgspec.json.decode(data_dir.control_port.read_bytes(), type=ControlAddress)
    except FileNotFoundError:
        raise ConfigError(
            f"{data_dir.root}: its server runs without a control port; start it with --control-port to switch while "
            "it runs, or stop it"
        ) from None
    except (OSError, msgspec.DecodeError) as fault:
        raise ConfigError(f"{data_dir.control_port}: cannot be read: {fault}") from fault
