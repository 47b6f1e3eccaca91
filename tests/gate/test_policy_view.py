"""`GET /v1/policy`: public, cacheable, and what the campaign says."""

import msgspec

from redrush.core.load.client_policy import ClientPolicy
from redrush.gate.views import PolicyView
from redrush.http.route import Waiter


class Nobody:
    waiting = True
    address = b""

    def send(self, answer: bytes) -> None:
        raise AssertionError("the policy is answered at once")


def test_the_policy_is_served_as_cacheable_data_that_reads_back_the_same() -> None:
    policy = ClientPolicy(interval_ms=2_500, attempts_max=2)
    nobody: Waiter = Nobody()
    head, _, body = PolicyView(policy).serve(nobody, "").partition(b"\r\n\r\n")
    assert b"HTTP/1.1 200 OK" in head
    assert b"Cache-Control: public, max-age=60" in head
    assert msgspec.json.decode(body, type=ClientPolicy) == policy
