"""Payments files and `[payout]`: what they say, and what is said of what they cannot mean."""

from pathlib import Path

import pytest

from redrush.config import load_campaign_file, load_payments_file, parse_campaign
from redrush.config.secret import SECRET_CHARACTERS_MAX, Secret
from redrush.core.money.payout_terms import PayoutTerms, Policy
from redrush.core.sets.address import Address
from redrush.errors import ConfigError

WECHAT = """[[provider]]
name = "wechat"
kind = "wechat"
appid = "wx1"
mchid = "1900000001"
serial = "5157"
key = { file = "merchant.pem" }
api_key = { env = "API_KEY" }
public_keys = { PUB_KEY_ID_1 = { file = "wechat.pem" } }
notify = "https://pay.example/notices/wechat"
scene = "1000"
reports = { "活动名称" = "gala", "奖励说明" = "red packet" }
"""
ALIPAY = """[[provider]]
name = "alipay"
kind = "alipay"
appid = "2021000000000001"
seller = "2088000000000001"
key = { file = "app.pem" }
public_keys = { alipay = { file = "alipay.crt" } }
notify = "https://pay.example/notices/alipay"
"""
EXAMPLES = Path(__file__).parents[2] / "examples"
MAIL = '[[notifier]]\nname = "m"\nkind = "smtp"\nserver = "smtp.example:587"\nfrom = "a@example.com"\n'
PROVIDER = '[[provider]]\nname = "bank"\nkind = "sandbox"\nurl = "http://127.0.0.1:1"\n'


def test_the_examples_fit_together() -> None:
    payments, campaign = load_payments_file(EXAMPLES / "payments.toml"), load_campaign_file(EXAMPLES / "paying.toml")
    assert campaign.payout is not None
    assert campaign.payout.provider in {one.name for one in payments.providers}
    assert payments.listen == Address("127.0.0.1", 9105)
    assert payments.providers[0].calls_per_s == 100


def test_a_secret_is_named_and_read_when_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("whsec_x\n")
    path = tmp_path / "payments.toml"
    path.write_text(PROVIDER + 'secret = { file = "secret" }\n')
    (provider,) = load_payments_file(path).providers
    assert provider.secrets["secret"].read() == "whsec_x"


def test_a_secret_that_an_editor_has_marked_as_utf_8_is_the_same_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"\xef\xbb\xbfwhsec_x\r\n")
    assert Secret("here", file=path).read() == "whsec_x"


def test_a_secret_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("x" * SECRET_CHARACTERS_MAX)
    assert Secret("here", file=path).read() == "x" * SECRET_CHARACTERS_MAX
    path.write_text("x" * SECRET_CHARACTERS_MAX + "y")
    with pytest.raises(ConfigError, match=r"here: .*/secret has more than 64,000 characters"):
        Secret("here", file=path).read()


def test_a_file_that_cannot_be_named_so_is_told(tmp_path: Path) -> None:
    path = tmp_path / "payments.toml"
    path.write_text(PROVIDER + 'secret = { file = "a\\u0000b" }\n')
    (provider,) = load_payments_file(path).providers
    with pytest.raises(ConfigError, match=r"provider\[0\]\.secret: '.*a\\x00b' is no path of a file"):
        provider.secrets["secret"].read()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "provider"),
        (PROVIDER + PROVIDER, 'payments.toml:6: provider[1].name: the name "bank" is used twice'),
        (PROVIDER.replace("sandbox", "paypal"), '"paypal" is none of'),
        (PROVIDER.replace("http:", "ftp:"), "must say where"),
        (PROVIDER.replace("url", "# url"), "provider[0].url: is missing"),
        (PROVIDER + 'scene = "1000"\n', "has no meaning"),
        ('[[provider]]\nname = "f"\nkind = "csv"\n', "provider[0].directory: is missing"),
        (WECHAT.replace("https", "http"), "must be https://"),
        (WECHAT.replace("scene", "# scene"), "provider[0].scene: is missing"),
        (ALIPAY.replace("seller", "# seller"), "provider[0].seller: is missing"),
        (ALIPAY + 'payee = "phone"\n', "payee"),
        (ALIPAY + 'app_cert = { file = "app.crt" }\n', "goes with root_cert"),
        (ALIPAY + 'scene = "1000"\n', "has no meaning"),
        (PROVIDER + "calls_per_second = 0\n", "must be above 0"),
        (PROVIDER + "secret = {}\n", "say where it is"),
        (PROVIDER + 'secret = { credential = "../x" }\n', '"../x" is no name of a credential'),
        ('[notices]\nlisten = "9105"\n' + PROVIDER, "is no address"),
        (PROVIDER + 'password = "x"\n', 'unknown key "password"; it belongs to [[notifier]]'),
        (MAIL + 'contacts = { to = "{user}@example.com" }\n', "contacts: is a table; here a text in quotes is"),
        (MAIL, 'contacts: is missing: say to whom mail goes, by a file, contacts = "contacts.csv", or, in its'),
    ],
)
def test_what_a_payments_file_cannot_mean_is_told_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "payments.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="payments") as told:
        load_payments_file(path)
    assert says in str(told.value)


STRIPE = """[[provider]]
name = "s"
kind = "stripe"
key = { env = "K" }
secret = { env = "S" }
back = "https://a.example/"
"""
SHOP = '[[notifier]]\nname = "shop"\nkind = "webhook"\nurl = "https://a.example/"\nsecret = { env = "S" }\n'


@pytest.mark.parametrize(
    "address", ["http://", "http://[::1", "http://a.example:x", "http://a.example:0/", "http://a b/"]
)
@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        (PROVIDER, "provider[0].url", 'must say where the provider answers, like "http://127.0.0.1:9400"'),
        (STRIPE, "provider[0].back", 'must say where buyers come back to, like "https://rush.example/"'),
        (WECHAT, "provider[0].notify", 'write it like "https://rush.example/notices/pay"'),
        (SHOP, "notifier[0].url", 'must say where the receiver answers, like "https://shop.example/won"'),
    ],
)
def test_an_address_that_is_none_is_told_with_what_is_right(
    tmp_path: Path, address: str, text: str, key: str, says: str
) -> None:
    path, name = tmp_path / "payments.toml", key.partition(".")[2]
    lines = [f'{name} = "{address}"' if line.startswith(f"{name} =") else line for line in text.splitlines()]
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError) as told:
        load_payments_file(path)
    line = next(number for number, one in enumerate(lines, 1) if one.startswith(f"{name} ="))
    assert str(told.value).startswith(f'{path}:{line}: {key}: "{address}" is no address: ')
    assert str(told.value).endswith(says)


def campaign(payout: str) -> str:
    return (EXAMPLES / "paying.toml").read_text(encoding="utf-8").partition("[payout]")[0] + payout


def test_who_starts_a_payout() -> None:
    def terms(payout: str) -> PayoutTerms | None:
        return parse_campaign(campaign(payout), "c.toml").payout

    assert terms("") is None
    assert terms('[payout]\nprovider = "bank"\n') == PayoutTerms(policy=Policy.WINNER, provider="bank")
    by_threshold = '[payout]\nprovider = "bank"\npolicy = "threshold"\nthreshold = "10.00"\napprove = true\n'
    assert terms(by_threshold) == PayoutTerms(
        policy=Policy.THRESHOLD, provider="bank", threshold_minor=1_000, approve=True
    )


@pytest.mark.parametrize(
    ("payout", "says"),
    [
        ('[payout]\nprovider = "a bank"\n', "is not an id"),
        ('[payout]\nprovider = "bank"\npolicy = "threshold"\n', "payout.threshold: is missing"),
        ('[payout]\nprovider = "bank"\nthreshold = "1.00"\n', "has no meaning"),
        ('[payout]\nprovider = "bank"\npolicy = "end"\nthreshold = "1.001"\n', "decimal places"),
        ('[payout]\nprovider = "bank"\npolicy = "never"\n', '"winner"'),
    ],
)
def test_what_a_payout_cannot_mean(payout: str, says: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse_campaign(campaign(payout), "c.toml")
    assert says in str(told.value)


def test_ways_to_pay_are_those_that_the_merchant_has(tmp_path: Path) -> None:
    path = tmp_path / "payments.toml"
    path.write_text(WECHAT + 'ways = ["qr", "redirect"]\nback = "https://rush.example/"\n')
    (spec,) = load_payments_file(path).providers
    assert (spec.ways, spec.options["back"]) == (("qr", "redirect"), "https://rush.example/")
    for wrong, said in (('["qr", "qr"]', "names one of them twice"), ('["h5"]', "ways")):
        path.write_text(WECHAT + f"ways = {wrong}\n")
        with pytest.raises(ConfigError, match=said):
            load_payments_file(path)
    path.write_text(PROVIDER + 'ways = ["qr"]\n')
    with pytest.raises(ConfigError, match="has no meaning"):
        load_payments_file(path)
