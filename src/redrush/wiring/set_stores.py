"""The sets' stores and records of a deployment, on Valkey and PostgreSQL."""

import ssl

from redrush.config.deployment_file import DeploymentFile, SetSpec, ValkeySpec
from redrush.errors import ConfigError
from redrush.records.postgres import PostgresRecords
from redrush.stores.valkey import Access, ValkeyStore


async def open_stores(deployment: DeploymentFile, campaign_id: str) -> dict[str, ValkeyStore]:
    """Return the store of each set, by id, in the order of the deployment. One that is away is looked for for ever."""
    access = access_of(deployment.valkey)
    return {spec.id: open_store(spec, campaign_id, access) for spec in deployment.sets}


def open_store(spec: SetSpec, campaign_id: str, access: Access) -> ValkeyStore:
    """Return the store of a set, which is looked for in the background."""
    return ValkeyStore.attach_later(spec.addresses, campaign_id, spec.id, access=access)


def access_of(spec: ValkeySpec) -> Access:
    """Return how to sign in at the servers. Reads the password. ConfigError if it, or the CA file, is not there."""
    tls = None
    if spec.tls:
        try:
            tls = ssl.create_default_context(cafile=None if spec.tls_ca is None else str(spec.tls_ca))
        except (OSError, ssl.SSLError) as fault:
            raise ConfigError(f"{spec.tls_ca}: cannot be used as the CA of the sets' servers: {fault}") from fault
    return Access(spec.user, None if spec.password is None else spec.password.read(), tls)


def open_records(spec: SetSpec) -> PostgresRecords:
    """Return the records that the set's log goes to. Connects to nothing yet; reads the DSN."""
    return PostgresRecords(spec.records.read(), spec.id)
