"""The sets' stores of a deployment, on Valkey."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Final

from redrush.config.deployment_file import DeploymentFile, Duty, ValkeySpec
from redrush.errors import ConfigError
from redrush.named_file import open_named
from redrush.ports.clock import TimeHeard
from redrush.stores.valkey import Access, ValkeyStore
from redrush.stores.valkey.primary import Prover

ATTACH_WAIT_S: Final = 3.0
"""How long the start of a role waits for its sets, so as not to complain about what is there in a moment."""


async def open_stores(deployment: DeploymentFile, campaign_id: str, duty: Duty) -> dict[str, ValkeyStore]:
    """Return the store of each set, by id, in the order of the deployment. Waits a moment for their primaries; those
    that are away then are looked for in the background, for ever. Signs in for the `duty`."""
    access = access_of(deployment.valkey, duty)
    stores = {
        spec.id: ValkeyStore.attach_later(spec.addresses, campaign_id, spec.id, access=access)
        for spec in deployment.sets
    }
    try:
        await asyncio.gather(*(store.attached(ATTACH_WAIT_S) for store in stores.values()))
    except BaseException:  # the start was ended: whoever asked gets nothing that could be closed
        await close_all(stores)
        raise
    return stores


async def open_store(
    deployment: DeploymentFile, set_id: str, campaign_id: str, duty: Duty, prover: Prover | None = None
) -> ValkeyStore:
    """Return the store of one set, like `open_stores`. `prover` decides on servers that were started anew."""
    spec = deployment.set_named(set_id)
    store = ValkeyStore.attach_later(
        spec.addresses, campaign_id, set_id, access=access_of(deployment.valkey, duty), prover=prover
    )
    try:
        await store.attached(ATTACH_WAIT_S)
    except BaseException:
        await store.close()
        raise
    return store


def times_of(stores: Mapping[str, ValkeyStore]) -> dict[str, Callable[[], TimeHeard | None]]:
    """Return what hears the clock of each set's primary, by a name for people."""
    return {f"set {set_id}": store.time_heard for set_id, store in stores.items()}


async def close_all(stores: Mapping[str, ValkeyStore]) -> None:
    """Close every store."""
    for store in stores.values():
        await store.close()


def access_of(spec: ValkeySpec, duty: Duty) -> Access:
    """Return how to sign in at the servers for this duty. Reads password, CA and certificate.

    ConfigError if one cannot be used."""
    tls = _tls(spec) if spec.tls else None
    login = spec.logins[duty]
    return Access(login.user, None if login.password is None else login.password.read(), tls)


def _tls(spec: ValkeySpec) -> ssl.SSLContext:
    try:
        if spec.tls_ca is not None:
            open_named(spec.tls_ca).close()
        tls = ssl.create_default_context(cafile=spec.tls_ca)
    except OSError as fault:  # of ssl too
        raise ConfigError(f"{spec.tls_ca}: cannot be used as the CA of the sets' servers: {fault}") from fault
    if spec.tls_cert is not None:
        try:
            for path in filter(None, (spec.tls_cert, spec.tls_key)):
                open_named(path).close()
            tls.load_cert_chain(spec.tls_cert, spec.tls_key, password=_no_passphrase)
        except OSError as fault:
            files = f"{spec.tls_cert}, {spec.tls_key}"
            raise ConfigError(f"{files}: cannot be shown to the sets' servers: {fault}") from fault
    return tls


def _no_passphrase() -> str:
    """A key with a passphrase is refused: OpenSSL would ask for it on the terminal, and wait."""
    return ""
