"""Whose request it is: the peer's word for itself, and what only our own proxies may say of others."""

from ipaddress import ip_network

import pytest

from redrush.http import client_address
from redrush.http.client_address import ClientAddresses, text_of

PROXIES = (ip_network("10.0.0.0/24"), ip_network("2001:db8:5::/48"))


def key(host: str) -> bytes:
    return ClientAddresses(()).of_peer(host)[0]


@pytest.mark.parametrize(
    ("host", "trusted"),
    [
        ("10.0.0.7", True),
        ("::ffff:10.0.0.7", True),
        ("10.0.1.7", False),
        ("2001:db8:5:1::9", True),
        ("2001:db8:6::9", False),
        ("", False),
        ("/run/socket", False),
    ],
)
def test_a_peer_is_a_proxy_of_ours_if_the_configuration_says_so(host: str, trusted: bool) -> None:
    assert ClientAddresses(PROXIES).of_peer(host) == (key(host), trusted)


def test_an_ipv6_subscriber_is_one_and_a_mapped_address_is_its_ipv4_self() -> None:
    assert key("2001:db8:1:2::1") == key("2001:db8:1:2:ffff:ffff:ffff:ffff")
    assert key("2001:db8:1:2::1") != key("2001:db8:1:3::1")
    assert key("::ffff:192.0.2.1") == key("192.0.2.1") != key("192.0.2.2")


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:db8:1:2::9", "2001:db8:1:2::1"),
        ("[2001:db8:1:2::9]:4711", "2001:db8:1:2::1"),
        ("[2001:db8:1:2::9]", "2001:db8:1:2::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("198.51.100.9, 192.0.2.1", "192.0.2.1"),
        ("198.51.100.9, 192.0.2.1, 10.0.0.4", "192.0.2.1"),
        ("198.51.100.9,192.0.2.1,2001:db8:5::1, 10.0.0.4", "192.0.2.1"),
        ("nonsense, 192.0.2.1, 10.0.0.4", "192.0.2.1"),
        (", ".join(["x"] * 1_000) + ", 192.0.2.1", "192.0.2.1"),
        ("10.0.0.3, 10.0.0.4", "10.0.0.3"),
        ("192.0.2.1, nonsense", None),
        ("192.0.2.1, 192.0.2.1.", None),
        ("192.0.2.1,", None),
        ("", None),
        (",", None),
        ("unknown", None),
        ("192.0.2.256", None),
        ("192.0.2.01", None),
        ("[192.0.2.1", "192.0.2.1"),
        ("١.٢.٣.٤", None),
        ("\x00", None),
        ("\xff" * 200, None),
        (", ".join(["10.0.0.3"] * 1_000), "10.0.0.3"),
    ],
)
def test_the_last_address_that_is_no_proxy_of_ours_is_the_clients(value: str, client: str | None) -> None:
    addresses = ClientAddresses(PROXIES)
    expected = None if client is None else key(client)
    for _ in range(2):
        assert addresses.of_forwarded(value.encode()) == expected


def test_what_is_remembered_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_address, "REMEMBERED_MAX", 10)
    addresses = ClientAddresses(PROXIES)
    for number in range(100):
        value = f"192.0.2.{number}"
        assert addresses.of_forwarded(value.encode()) == key(value)
        assert len(addresses._known) <= 10
    known = len(addresses._known)
    assert addresses.of_forwarded(b"x" * 1_000) is None
    assert len(addresses._known) == known


def test_lists_that_cannot_be_read_are_counted_each_time() -> None:
    clients = ClientAddresses(PROXIES)
    for value in (b"192.0.2.1", b"nonsense", b"nonsense", b"192.0.2.1,", b""):
        clients.of_forwarded(value)
    assert clients.unreadable == 3


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6"),
        ("/run/socket", ""),
        ("", ""),
    ],
)
def test_a_key_tells_the_whole_address_it_was_made_of(host: str, text: str) -> None:
    assert text_of(key(host)) == text
    if text:
        assert text_of(ClientAddresses(PROXIES).of_forwarded(f"{host}, 10.0.0.7".encode()) or b"") == text
