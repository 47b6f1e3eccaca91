"""TLS of a control port: what it shows, and how commands and other roles know it again."""

import ssl
from pathlib import Path
from typing import Final

import msgspec

from redrush.config import DeploymentFile
from redrush.errors import ConfigError
from redrush.http.ask import ControlAddress
from redrush.named_file import open_named

ANY_HOST: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here: where a client finds it


class Shown(msgspec.Struct, frozen=True):
    """A certificate with its key, as files, and whose signature clients look for; `ca` None: for this certificate."""

    cert: Path
    key: Path
    ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return what a server shows. ConfigError if the files are of no use."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            for path in (self.cert, self.key):
                open_named(path).close()
            # Without this OpenSSL would ask the terminal for the passphrase of a key that has one.
            context.load_cert_chain(self.cert, self.key, password=lambda: b"")
        except (OSError, ValueError) as fault:
            reason = getattr(fault, "reason", None) or getattr(fault, "strerror", None) or str(fault)
            raise ConfigError(
                f"{self.cert}, {self.key}: cannot be shown by the control port, a certificate and its key without a "
                f"passphrase are needed: {reason}"
            ) from fault
        return context


def shown_by(deployment: DeploymentFile) -> Shown | None:
    """Return what the control role of the deployment shows; None: it speaks plainly."""
    control = deployment.control
    if control.tls_cert is None or control.tls_key is None:
        return None
    return Shown(control.tls_cert, control.tls_key, control.tls_ca)


def control_address(host: str, port: int, shown: Shown | None) -> ControlAddress:
    """Return where a control port that is bound there is found, and how it is known."""
    found = ANY_HOST.get(host, host)
    if shown is None:
        return ControlAddress(found, port)
    trusted = str((shown.ca or shown.cert).resolve())
    return ControlAddress(found, port, trusted, pinned=shown.ca is None)


def control_role_of(deployment: DeploymentFile) -> ControlAddress:
    """Return where the control role of the deployment is, with what its paths begin with."""
    found = deployment.control.found_at
    address = control_address(found.host, found.port, shown_by(deployment))
    return msgspec.structs.replace(address, prefix=deployment.control.prefix)
