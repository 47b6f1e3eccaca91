"""The pages about providers show the examples whole, and the examples are files that the server takes."""

import re
from pathlib import Path

import pytest

from redrush.config import load_payments_file
from redrush.providers.stripe.link import API_VERSION

ROOT = Path(__file__).parents[2]
PAGES = {
    "pay-by-wechat.md": "wechat",
    "pay-by-wechat.zh.md": "wechat",
    "pay-by-alipay.md": "alipay",
    "pay-by-alipay.zh.md": "alipay",
    "pay-by-stripe.md": "stripe",
    "shop-webhooks.md": "shop",
}


@pytest.mark.parametrize("page", list(PAGES))
def test_a_page_shows_its_example_and_the_example_is_fine(page: str) -> None:
    example = ROOT / f"examples/payments-{PAGES[page]}.toml"
    text = (ROOT / "docs/how-to" / page).read_text(encoding="utf-8")
    [shown] = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert shown == example.read_text(encoding="utf-8")
    file = load_payments_file(example)
    kinds = {"shop": ["sandbox", "webhook"]}.get(PAGES[page], [PAGES[page]])
    assert [one.kind for one in file.providers] == kinds
    assert (file.listen is not None) is (PAGES[page] != "shop")


def test_every_key_of_an_example_names_a_secret_and_holds_none() -> None:
    for example in sorted((ROOT / "examples").glob("payments*.toml")):
        for provider in load_payments_file(example).providers:
            for secret in (*provider.secrets.values(), *provider.public_keys.values()):
                assert secret.text is None


def test_the_page_about_stripe_names_the_pinned_version() -> None:
    assert API_VERSION in (ROOT / "docs/how-to/pay-by-stripe.md").read_text(encoding="utf-8")
