"""TLS to the sets' servers and to the records: what is not surely the right server is not spoken to."""

import asyncio
import shutil
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from redrush.config.deployment_file import Duty, Login, ValkeySpec
from redrush.core.rush.campaign import Slots
from redrush.core.sets.address import Address
from redrush.errors import ConfigError
from redrush.ports.records import RecordsFailed
from redrush.ports.store import Claimed, PotTerms, StoreUnavailable, claims_of
from redrush.processes.loopback import free_port
from redrush.processes.valkey_server import Program, ValkeyServer
from redrush.records.postgres import PostgresRecords
from redrush.stores.valkey import Access, ValkeyStore, establish_set
from redrush.stores.valkey.link import Link, pack
from redrush.stores.valkey.search import ServerMisconfigured
from redrush.wiring.set_stores import access_of
from tests.conftest import Databases
from tests.integration.tls import HOST, Authority, door
from tests.integration.valkey_sets import AT_US, CAMPAIGN, POT, SET, cannot_connect, servers


def _access(ca: Path | None, shown: tuple[Path, Path] | tuple[None, None] = (None, None)) -> Access:
    logins = dict.fromkeys(Duty, Login(None, None))
    spec = ValkeySpec(logins=logins, cluster=False, tls=True, tls_ca=ca, tls_cert=shown[0], tls_key=shown[1])
    return access_of(spec, Duty.GATE)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


async def test_a_set_is_founded_and_claimed_from_over_tls(tmp_path: Path, authority: Authority) -> None:
    async with servers(tmp_path, 1) as (server,), door(server.address, authority.server()) as address:
        access = _access(authority.ca)
        await establish_set([address], CAMPAIGN, SET, 0, access)
        store = await ValkeyStore.connect([address], CAMPAIGN, SET, access=access)
        await store.open([PotTerms(POT, Slots(0, 10))])
        assert await store.claim(claims_of(POT, ["a"]), AT_US) == [Claimed(0, AT_US, False)]
        assert len(await store.log(0, 10)) == 2, "over a link of its own"
        assert store.address == address
        await store.close()


async def test_a_server_whose_certificate_somebody_else_signed_is_refused(tmp_path: Path, authority: Authority) -> None:
    other = Authority(tmp_path / "other")
    async with servers(tmp_path, 1) as (server,), door(server.address, authority.server()) as address:
        for access in (_access(other.ca), _access(None)):
            await cannot_connect(f"{address}: its certificate is not trusted: unable to get", address, access)


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path, authority: Authority) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.files("elsewhere.example"))
    async with servers(tmp_path, 1) as (server,), door(server.address, context) as address:
        with pytest.raises(StoreUnavailable, match="not trusted: IP address mismatch"):
            await Link.connect(address, _access(authority.ca))


async def test_neither_side_takes_the_other_for_what_it_is_not(tmp_path: Path, authority: Authority) -> None:
    async with servers(tmp_path, 1) as (server,), door(server.address, authority.server()) as address:
        with pytest.raises(StoreUnavailable, match=f"{server.address}: "):
            await Link.connect(server.address, _access(authority.ca))
        with pytest.raises(StoreUnavailable, match=f"{address}: "):
            await Link.connect(address, Access())


async def test_a_server_that_wants_to_see_a_certificate_is_shown_it(tmp_path: Path, authority: Authority) -> None:
    context = authority.asks_clients(authority.server())
    async with servers(tmp_path, 1) as (server,), door(server.address, context) as address:
        link, _ = await Link.connect(address, _access(authority.ca, authority.files("gate.example")))
        assert await link.call(pack(("ECHO", "seen"))) == [b"seen"]
        await link.close()
        with pytest.raises(StoreUnavailable, match=f"{address}: "):
            await Link.connect(address, _access(authority.ca))


def test_files_that_cannot_be_used_are_told_by_their_names(tmp_path: Path, authority: Authority) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    certificate, key = authority.files("gate.example")
    for ca in (garbage, tmp_path / "absent.pem"):
        with pytest.raises(ConfigError, match=f"{ca}: cannot be used as the CA"):
            _access(ca)
    for shown in ((certificate, garbage), (garbage, key), (certificate, authority.files("other.example")[1])):
        with pytest.raises(ConfigError, match=f"{shown[0]}, {shown[1]}: cannot be shown"):
            _access(authority.ca, shown)
    locked = tmp_path / "locked.key"
    opened = load_pem_private_key(key.read_bytes(), None)
    encryption = BestAvailableEncryption(b"secret")
    locked.write_bytes(opened.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    with pytest.raises(ConfigError, match="cannot be shown"):
        _access(authority.ca, (certificate, locked))


async def test_records_are_kept_over_tls_by_the_mode_of_their_dsn(
    tmp_path: Path, authority: Authority, databases: Databases
) -> None:
    dsn = databases.fresh()
    behind = Address(HOST, int(conninfo_to_dict(dsn)["port"] or 0))
    async with door(behind, authority.server(), postgres=True) as address:

        async def cursor_trusting(ca: Path) -> int:
            asked = make_conninfo(dsn, port=address.port, sslmode="verify-full", sslrootcert=str(ca))
            records = PostgresRecords(asked, "s1")
            try:
                return await asyncio.to_thread(records.cursor)
            finally:
                records.close()

        assert await cursor_trusting(authority.ca) == 0
        with pytest.raises(RecordsFailed, match="certificate verify failed"):
            await cursor_trusting(Authority(tmp_path / "other").ca)
    in_the_clear = PostgresRecords(make_conninfo(dsn, sslmode="require"), "s1")
    with pytest.raises(RecordsFailed, match="server does not support SSL, but SSL was required"):
        await asyncio.to_thread(in_the_clear.cursor)
    in_the_clear.close()


@pytest.mark.peers
async def test_a_server_that_speaks_tls_itself_is_reached_by_who_it_trusts(
    tmp_path: Path, authority: Authority
) -> None:
    """Debian's Redis is too old for a set, and says so; but its TLS is not that of Python."""
    path = shutil.which("redis-server")
    assert path is not None, "apt-get install redis-server"
    certificate, key = authority.files(HOST)
    port = free_port()
    tls = ("--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key))
    server = ValkeyServer(
        tmp_path / "redis", settings=(*tls, "--tls-ca-cert-file", str(authority.ca)), program=Program((7, 0, 15), path)
    )
    await server.start()
    try:
        address, shown = Address(HOST, port), authority.files("gate.example")
        with pytest.raises(ServerMisconfigured, match=f"{address}: redis .* is too old"):
            await ValkeyStore.connect([address], CAMPAIGN, SET, access=_access(authority.ca, shown))
        with pytest.raises(StoreUnavailable, match=f"{address}: "):
            await Link.connect(address, _access(authority.ca))
        with pytest.raises(StoreUnavailable, match="its certificate is not trusted"):
            await Link.connect(address, _access(Authority(tmp_path / "other").ca, shown))
    finally:
        server.kill()
