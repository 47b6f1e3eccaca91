"""Campaign files: what a person can get wrong, and what they are told. File, line and key every time."""

import re
from pathlib import Path

import pytest

from redrush.config import (
    FILE_BYTES_MAX,
    PACKETS_MAX,
    CampaignFile,
    GateSpec,
    RoundSpec,
    WrittenFile,
    load_campaign_file,
    parse_campaign,
)
from redrush.core.identity.proof_of_work import ProofOfWork
from redrush.core.load.client_policy import ClientPolicy, WaitingTexts
from redrush.core.load.levels import AdmissionTerms
from redrush.core.rush.campaign import Kind, Leftover
from redrush.errors import ConfigError

MINIMUM = """\
[campaign]
id = "cny2027"
name = "2027 春节红包"
currency = "CNY"

[[round]]
id = "r20"
opens = 2027-02-06T20:00:00+08:00     # or "now"
lasts = "60s"
kind = "lucky"                        # lucky | equal | …
total = "50000.00"
packets = 20000
min = "0.50"
max = "200.00"
leftover = "next"                     # next | return
"""
ROUND_2 = """
[[round]]
id = "r21"
opens = "now"
lasts = "500ms"
kind = "equal"
total = "88.00"
packets = 88
"""


def test_the_minimum_file_is_a_campaign() -> None:
    assert parse_campaign(MINIMUM, "c.toml") == CampaignFile(
        id="cny2027",
        name="2027 春节红包",
        currency="CNY",
        timezone="+08:00",
        audience=None,
        rounds=(
            RoundSpec(
                id="r20",
                opens_us=1_801_915_200_000_000,
                lasts_us=60_000_000,
                kind=Kind.LUCKY,
                total_minor=5_000_000,
                packets=20_000,
                min_minor=50,
                max_minor=20_000,
                leftover=Leftover.NEXT,
                release_per_s=None,
                opens_text="2027-02-06T20:00:00+08:00",
            ),
        ),
        gate=GateSpec(),
        client=ClientPolicy(),
        written=WrittenFile(MINIMUM, str(Path.cwd())),
    )


def test_everything_that_may_be_left_out_may_be_given() -> None:
    text = MINIMUM.replace('currency = "CNY"', 'currency = "CNY"\naudience = "users.txt"') + (
        "release_per_second = 2000\n" + ROUND_2 + "[gate]\nconnections_max = 5\nparked_max = 6\n"
    )
    campaign = parse_campaign(text, "c.toml")
    assert campaign.audience == Path("users.txt")
    assert campaign.gate == GateSpec(connections_max=5, parked_max=6)
    assert [round_.release_per_s for round_ in campaign.rounds] == [2000.0, None]
    assert [round_.opens_us for round_ in campaign.rounds] == [1_801_915_200_000_000, None]
    assert campaign.rounds[1].leftover is Leftover.RETURN
    assert (campaign.rounds[1].min_minor, campaign.rounds[1].max_minor) == (100, 100)


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "sentence"),
    [
        # keys
        ('id = "cny2027"\n', "", 1, "campaign", 'the key "id" is missing'),
        ("packets = 20000\n", "", 6, "round[0]", 'the key "packets" is missing'),
        ("packets = 20000", "packets = 20000\nprise = 1", 13, "round[0].prise", 'unknown key "prise"'),
        ('currency = "CNY"', 'currency = "CNY"\npurse = 1', 5, "campaign.purse", 'unknown key "purse"'),
        ('currency = "CNY"', 'currency = "CNY"\nbudget = 1', 5, "campaign.budget", 'expected: budget = "1.00"'),
        ("[campaign]", "[sponsor]\nname = 1\n[campaign]", 1, "sponsor", 'unknown key "sponsor"'),
        ('min = "0.50"\n', "", 6, "round[0]", "needs min and max"),
        ('kind = "lucky"', 'kind = "equal"', 13, "round[0].min", 'of kind "equal" has no bounds'),
        # types and values
        ("packets = 20000", 'packets = "many"', 12, "round[0].packets", "is text; here a number is expected"),
        ("packets = 20000", "packets = 2.5", 12, "round[0].packets", "is a number with a fraction; here a whole"),
        ("packets = 20000", "packets = true", 12, "round[0].packets", "is true or false; here a whole number is"),
        ("packets = 20000", "packets = 0", 12, "round[0].packets", "must be from 1 to"),
        ("packets = 20000", "packets = -1", 12, "round[0].packets", "must be from 1 to"),
        ("packets = 20000", f"packets = {PACKETS_MAX + 1}", 12, "round[0].packets", "must be from 1 to"),
        ("packets = 20000", f"packets = {'9' * 100}", 12, "round[0].packets", ""),
        ('total = "50000.00"', "total = 50000.00", 11, "round[0].total", 'expected: total = "50000.00"'),
        ('total = "50000.00"', 'total = "50000.001"', 11, "round[0].total", "3 decimal places"),
        ('total = "50000.00"', 'total = "-5"', 11, "round[0].total", "not an amount"),
        ('total = "50000.00"', 'total = "1e4"', 11, "round[0].total", "not an amount"),
        ('total = "50000.00"', 'total = "９"', 11, "round[0].total", "not an amount"),
        ('min = "0.50"', 'min = "half"', 13, "round[0].min", "not an amount"),
        ('max = "200.00"', 'max = "NaN"', 14, "round[0].max", "not an amount"),
        ('currency = "CNY"', 'currency = "cny"', 4, "campaign.currency", '"cny" is written "CNY"'),
        ('id = "cny2027"', 'id = "红包"', 2, "campaign.id", "is not an id"),
        ('id = "r20"', 'id = ""', 7, "round[0].id", "is not an id"),
        ('id = "r20"', 'id = "r/20"', 7, "round[0].id", "is not an id"),
        ('id = "r20"', 'id = "$returned"', 7, "round[0].id", "is not an id"),
        ('id = "r20"', f'id = "{"r" * 33}"', 7, "round[0].id", "is not an id"),
        ('kind = "lucky"', 'kind = "luck"', 10, "round[0].kind", '"equal", "lucky", "lucky_double_mean"'),
        ('leftover = "next"', 'leftover = "keep"', 15, "round[0].leftover", '"next", "return"'),
        ('lasts = "60s"', 'lasts = "60"', 9, "round[0].lasts", "not a duration"),
        ('lasts = "60s"', 'lasts = "0s"', 9, "round[0].lasts", "not a duration"),
        ('lasts = "60s"', "lasts = 60", 9, "round[0].lasts", 'a text in quotes is expected: lasts = "60s"'),
        ('lasts = "60s"', 'lasts = "999999999d"', 9, "round[0].lasts", "at most"),
        ("20:00:00+08:00", "20:00:00", 8, "round[0].opens", "has no offset"),
        ("2027-02-06T20:00:00+08:00", "2027-02-06", 8, "round[0].opens", "is not an instant"),
        ("2027-02-06T20:00:00+08:00", '"tomorrow"', 8, "round[0].opens", "is not an instant"),
        ("2027-02-06T20:00:00+08:00", '"2027-02-06T20:00:00+08:00"', 8, "round[0].opens", "no quotes"),
        ("2027-02-06T20:00:00+08:00", "9999-12-31T23:59:59Z", 8, "round[0].opens", "2000 to 9000"),
        ("2027-02-06T20:00:00+08:00", "0001-01-01T00:00:00+08:00", 8, "round[0].opens", "2000 to 9000"),
        # sums
        ('total = "50000.00"', 'total = "9999.99"', 11, "round[0].total", ""),
        ('total = "50000.00"', 'total = "4000000.01"', 11, "round[0].total", ""),
        ('max = "200.00"', 'max = "0.49"', 13, "round[0].min", 'is above the largest, max = "0.49"'),
        ('min = "0.50"', 'min = "0.00"', 13, "round[0].min", '"0.00" is nothing: a packet holds at least 0.01'),
        ('currency = "CNY"', 'currency = "RMB"', 4, "campaign.currency", '"RMB" is written "CNY"'),
        ('currency = "CNY"', 'currency = "人民币"', 4, "campaign.currency", 'is written "CNY"'),
        ('currency = "CNY"', 'currency = "XYZ"', 4, "campaign.currency", "is not known; known are"),
        ('name = "2027 春节红包"', 'name = "a\\u001b[31mb"', 3, "campaign.name", "cannot be seen"),
        ('total = "50000.00"', "total = 500", 11, "round[0].total", 'total = "500.00"'),
        ("packets = 20000", 'packets = "20000"', 12, "round[0].packets", "without quotes"),
        ("2027-02-06T20:00:00+08:00", '"2027-2-6 9:00"', 8, "round[0].opens", "write 2027-02-06T09:00:00+08:00"),
        ('total = "50000.00"', 'total = "0"', 11, "round[0].total", ""),
    ],
)
def test_a_mistake_is_told_with_file_line_and_key(old: str, new: str, line: int, key: str, sentence: str) -> None:
    assert MINIMUM.count(old) >= 1
    with pytest.raises(ConfigError) as told:
        parse_campaign(MINIMUM.replace(old, new, 1), "c.toml")
    assert str(told.value).startswith(f"c.toml:{line}: {key}: ")
    assert sentence in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("more", "line", "key", "sentence"),
    [
        (ROUND_2.replace("r21", "r20"), 18, "round[1].id", 'the id "r20" is used twice'),
        (ROUND_2.replace("88.00", "x"), 22, "round[1].total", "not an amount"),
        (ROUND_2 + 'max = "1"\n', 24, "round[1].max", "has no bounds"),
        ("release_per_second = 0\n", 16, "round[0].release_per_second", "must be above 0"),
        ("release_per_second = nan\n", 16, "round[0].release_per_second", "must be above 0"),
        ("release_per_second = inf\n", 16, "round[0].release_per_second", "must be above 0"),
        ("[gate]\nparked_max = 0\n", 17, "gate.parked_max", "must be at least 1"),
        ("[gate]\nparked = 1\n", 17, "gate.parked", 'unknown key "parked"'),
        ("[gate]\nuser_per_second = 1\n", 17, "gate.user_per_second", 'key "user_per_second"; it belongs to [limits]'),
        ("[limits]\ngreeting = 1\n", 17, "limits.greeting", 'key "greeting"; it belongs to [round.share]'),
        ("[limits]\nodds = 1\n", 17, "limits.odds", 'key "odds"; it belongs to [[round.prize]]'),
        ("[limits]\ntrusted_proxies = {}\n", 17, "limits.trusted_proxies", "is a table; here a list is expected"),
        ("[limits]\nuser_burst = 1979-05-27\n", 17, "limits.user_burst", "an instant; here a whole number is expected"),
        ('[gate]\n"connections_max" = "5"\n', 17, "gate.connections_max", '"5" is text; here a number is expected'),
        ('[limits]\nuser_per_second = "fast"\n', 17, "limits.user_per_second", '"fast" is neither a number nor "off"'),
        ("[limits]\nuser_per_second = 0\n", 17, "limits.user_per_second", "must be above 0"),
        ("[limits]\nuser_per_second = 0.5\n", 17, "limits.user_per_second", "every 1000 ms (client.interval)"),
        ("[limits]\nuser_burst = 1\n", 17, "limits.user_burst", "must be from 2"),
        ('[limits]\naddress_per_second = "off"\naddress_burst = 5\n', 18, "limits.address_burst", "is of no use"),
        ("[limits]\nconnections_per_address_max = 0\n", 17, "limits.connections_per_address_max", "at least 1"),
        ('[limits]\ntrusted_proxies = ["10.0.0.1/24"]\n', 17, "limits.trusted_proxies", "has host bits set"),
        ('[limits]\ntrusted_proxies = ["proxy"]\n', 17, "limits.trusted_proxies", "does not appear to be"),
        ("[limits]\nper_second = 1\n", 17, "limits.per_second", 'unknown key "per_second"'),
    ],
)
def test_a_mistake_further_down_is_told_too(more: str, line: int, key: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse_campaign(MINIMUM + more, "c.toml")
    assert str(told.value).startswith(f"c.toml:{line}: {key}: ")
    assert sentence in str(told.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (MINIMUM.replace('"60s"', '"60s'), 9),
        (MINIMUM + "a = " + "[" * 5_000, None),
        (MINIMUM + "a = " + "1" * 5_000, None),
        (MINIMUM.replace("2027-02-06T20", "2027-13-06T20"), 8),
        ("\ufeff" + MINIMUM, 1),
        ("{}", 1),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(text: str, line: int | None) -> None:
    with pytest.raises(ConfigError, match=r"not valid TOML|is not an instant") as told:
        parse_campaign(text, "c.toml")
    assert str(told.value).startswith("c.toml:" if line is None else f"c.toml:{line}: ")
    assert len(str(told.value)) < 300


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        # instants, with the right form
        (
            "T20:00:00+08:00",
            "T24:00:00+08:00",
            8,
            "2027-02-06T24:00:00+08:00 is not an instant: write 2027-02-07T00",
        ),
        ("T20:00:00+08:00", "T9:00:00+08:00", 8, "is not an instant: write 2027-02-06T09:00:00+08:00"),
        ("T20:00:00+08:00", "T20:00+08:00", 8, "is not an instant: write 2027-02-06T20:00:00+08:00"),
        ("T20:00:00+08:00", "T20:00:00+8:00", 8, "is not an instant: write 2027-02-06T20:00:00+08:00"),
        ("T20:00:00+08:00", "T20:00:00+08", 8, "is not an instant: write 2027-02-06T20:00:00+08:00"),
        ("T20:00:00+08:00", "T20:00:00+0800", 8, "is not an instant: write 2027-02-06T20:00:00+08:00"),
        ("T20:00:00+08:00", " 20:00:00 +08:00", 8, "is not an instant: write 2027-02-06T20:00:00+08:00"),
        ("T20:00:00+08:00", " 20:00 # in the evening", 8, "write 2027-02-06T20:00:00+08:00, with the offset of your"),
        ("2027-02-06T20:00:00", "2027/2/6 20:00:00", 8, "is not an instant: write 2027-02-06T20:00:00+08:00"),
        ("2027-02-06T20", "2027-02-30T20", 8, "there is no such day"),
        ("T20:00:00+08:00", "T20:00:00+99:00", 8, "(with quotes); there is no offset +99:00"),
        ("T20:00:00+08:00", "T20:00:00+0860", 8, "(with quotes); there is no offset +0860"),
        ("T20:00:00+08:00", "T20:00:60Z", 8, "there is no such time of day"),
        ("2027-02-06T20:00:00+08:00", "now", 8, 'opens: now has no quotes: write opens = "now"'),
        # quotes left out
        ('"60s"', "60s", 9, 'lasts: 60s has no quotes: write lasts = "60s"'),
        ('"50000.00"', "50,000.00", 11, 'without separators: total = "50000.00"'),
        ('"50000.00"', "¥50000", 11, 'an amount stands in quotes, without separators: total = "50000"'),
        ('"CNY"', "CNY", 4, 'currency: CNY has no quotes: write currency = "CNY"'),
        ('"2027 春节红包"', "春节红包", 3, 'name: 春节红包 has no quotes: write name = "春节红包"'),
        ('"lucky"', "lucky", 10, 'kind: lucky has no quotes: write kind = "lucky"'),
    ],
)
def test_a_value_that_toml_cannot_read_is_told_with_its_right_form(
    old: str, new: str, line: int, sentence: str
) -> None:
    with pytest.raises(ConfigError) as told:
        parse_campaign(MINIMUM.replace(old, new, 1), "c.toml")
    assert str(told.value).startswith(f"c.toml:{line}: ")
    assert sentence in str(told.value)


@pytest.mark.parametrize(
    ("after", "more", "told"),
    [
        ("opens", "opens = 2027-02-06T21:00:00+08:00", "9: round[0].opens stands there twice, first in line 8"),
        ("lasts", "lasts = 60", "10: round[0].lasts stands there twice, first in line 9"),
        ("packets", "packets = 5", "13: round[0].packets stands there twice, first in line 12"),
        ("packets", "a = [\n 1,\n]\na = [\n 2,\n]", "16: round[0].a stands there twice, first in line 13"),
        ("leftover", 'leftover = "next"', "16: round[0].leftover stands there twice, first in line 15"),
        ("packets", "line = {a = 1, a = 2}", "13: a stands there twice"),
        ("currency", "[campaign]", "5: the table [campaign] stands there twice"),
        ("leftover", "[round.line]\n[round.line]", "17: the table [round.line] stands there twice"),
    ],
)
def test_what_stands_there_twice_is_told_as_that(after: str, more: str, told: str) -> None:
    text = re.sub(rf"^{after} = .*\n", lambda found: f"{found[0]}{more}\n", MINIMUM, flags=re.MULTILINE)
    with pytest.raises(ConfigError) as fault:
        parse_campaign(text, "c.toml")
    assert str(fault.value).startswith(f"c.toml:{told}; ")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('opens = "tomorrow"', 'write it like 2027-02-06T20:00:00+08:00 (no quotes) or "now" (with quotes)'),
        ('opens = "NOW"', 'write it like 2027-02-06T20:00:00+08:00 (no quotes) or "now" (with quotes)'),
        ("opens = 5", 'write it like 2027-02-06T20:00:00+08:00 (no quotes) or "now" (with quotes)'),
        ('opens = "2027-02-06 9:00+08:00"', "write 2027-02-06T09:00:00+08:00 (no quotes)"),
        ('opens = "2027-02-06 9:00"', "write 2027-02-06T09:00:00+08:00 (no quotes), with the offset of your clocks"),
        ('opens = "now"\nevery = "1h"\nuntil = "now"', "write it like 2027-02-06T20:00:00+08:00 (no quotes)"),
        (
            'opens = "now"\nevery = "1h"\nuntil = 2027-02-06T20:00',
            "write 2027-02-06T20:00:00+08:00, with the offset of your clocks",
        ),
    ],
)
def test_an_instant_is_asked_for_as_its_key_has_it(line: str, told: str) -> None:
    with pytest.raises(ConfigError) as fault:
        parse_campaign(MINIMUM.replace("opens = 2027-02-06T20:00:00+08:00", line), "c.toml")
    assert str(fault.value).partition("is not an instant: ")[2] == told


def test_too_many_equal_packets_are_refused_where_their_number_stands() -> None:
    text = MINIMUM.replace('kind = "lucky"', 'kind = "equal"').replace('min = "0.50"\nmax = "200.00"\n', "")
    with pytest.raises(ConfigError) as told:
        parse_campaign(text.replace("50000.00", "0.05").replace("20000", "7"), "c.toml")
    assert str(told.value) == (
        "c.toml:12: round[0].packets: 7 are too many for a total of 0.05 CNY: each holds at least 0.01, "
        "so at most 5 are possible"
    )


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(MINIMUM.replace('"CNY"', '"CNY"\naudience = "lists/u.txt"'), encoding="utf-8")
    assert load_campaign_file(tmp_path / "c.toml").audience == tmp_path / "lists" / "u.txt"


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_byte_order_mark_before_utf8_is_accepted(tmp_path: Path, line_end: str) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b"\xef\xbb\xbf" + MINIMUM.replace("\n", line_end).encode())
    assert load_campaign_file(file).name == "2027 春节红包"


@pytest.mark.parametrize("encoding", ["utf-16", "gbk"])
def test_another_encoding_is_guessed_and_told_in_one_sentence(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(MINIMUM.encode(encoding))
    with pytest.raises(ConfigError, match=f"is not UTF-8 text.*; it looks like {encoding.upper()}; save it") as told:
        load_campaign_file(file)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", 'the key "campaign" is missing'),
        (MINIMUM[: MINIMUM.index("[[round]]")], 'the key "round" is missing'),
        ("round = []\n" + MINIMUM[: MINIMUM.index("[[round]]")], "a campaign has 1 to"),
        ("round = 5\n" + MINIMUM[: MINIMUM.index("[[round]]")], "is a number; here a list is expected"),
        ("round = [5]\n" + MINIMUM[: MINIMUM.index("[[round]]")], "is a number; here a table is expected"),
        (MINIMUM.replace("[[round]]", "[round]"), "round: is one table, and there may be several: write [[round]]"),
    ],
)
def test_a_file_that_lacks_a_whole_part_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=r"^c\.toml:\d+: ") as told:
        parse_campaign(text, "c.toml")
    assert sentence in str(told.value)


def test_all_rounds_together_are_bounded() -> None:
    rounds = "".join(
        ROUND_2.replace("r21", f"s{number}").replace("= 88\n", f"= {PACKETS_MAX}\n").replace("88.00", "900000.00")
        for number in range(6)
    )
    with pytest.raises(ConfigError, match="packets in all"):
        parse_campaign(MINIMUM + rounds, "c.toml")


def test_a_file_that_cannot_be_read_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: cannot be read: No such file"):
        load_campaign_file(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_campaign_file(tmp_path)
    (tmp_path / "latin.toml").write_bytes("name = 'é'".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin.toml:1: is not UTF-8 text \(byte 8\)"):
        load_campaign_file(tmp_path / "latin.toml")
    (tmp_path / "big.toml").write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="larger than"):
        load_campaign_file(tmp_path / "big.toml")


# -- [client]


def test_the_client_table_changes_what_it_names_and_leaves_the_rest() -> None:
    text = MINIMUM + (
        '[client]\nstart_window = "3s"\nretry_share = 0.05\nattempts_max = 2\n'
        '[client.texts.ja]\nasking = "a"\nwaiting = "w {seconds}"\ngiven_up = "g"\n'
    )
    policy = parse_campaign(text, "c.toml").client
    assert (policy.start_window_ms, policy.retry_share, policy.attempts_max) == (3_000, 0.05, 2)
    assert (policy.interval_ms, policy.throttle_k) == (ClientPolicy().interval_ms, ClientPolicy().throttle_k)
    assert policy.texts["ja"] == WaitingTexts(asking="a", waiting="w {seconds}", given_up="g")
    assert set(policy.texts) == {"en", "zh", "ja"}


@pytest.mark.parametrize(
    ("lines", "line", "key", "sentence"),
    [
        ('intervall = "1s"', 17, "client.intervall", 'unknown key "intervall"'),
        ('interval = "often"', 17, "client.interval", '"often" is not a duration'),
        ('come_back = "11m"', 17, "client.come_back", "at most ten minutes"),
        ("retry_share = 1.5", 17, "client.retry_share", "from 0 to 1"),
        ("retry_share = nan", 17, "client.retry_share", "from 0 to 1"),
        ("throttle_k = 0.5", 17, "client.throttle_k", "from 1 to 100"),
        ("attempts_max = 0", 17, "client.attempts_max", "from 1 to 20"),
        ('backoff_first = "9s"', 16, "client.backoff_max", "at least backoff_first, which is 9000 ms"),
        ('[client.texts.English]\nasking="a"\nwaiting="w"\ngiven_up="g"', 17, "client.texts.English", "not a language"),
        (
            '[client.texts.fr]\nasking="a"\nwaiting="w"',
            17,
            "client.texts.fr",
            "with the keys asking, waiting, given_up",
        ),
        (
            '[client.texts.fr]\nasking=""\nwaiting="w"\ngiven_up="g"',
            18,
            "client.texts.fr.asking",
            "a text of 1 to 400 characters",
        ),
    ],
)
def test_a_mistake_in_the_client_table_is_told_with_its_line(lines: str, line: int, key: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_campaign(f"{MINIMUM}[client]\n{lines}\n", "c.toml")
    assert str(refused.value).startswith(f"c.toml:{line}: {key}: "), str(refused.value)
    assert sentence in str(refused.value)


# -- [tickets]


def test_without_a_word_about_it_no_proof_of_work_is_asked_for() -> None:
    assert parse_campaign(MINIMUM, "c.toml").proof_of_work is None
    assert parse_campaign(MINIMUM + "[tickets]\nmax_number = 7\n", "c.toml").proof_of_work is None


def test_the_tickets_table_says_how_much_work_a_ticket_is() -> None:
    text = MINIMUM + "[tickets]\nproof_of_work = true\n"
    assert parse_campaign(text, "c.toml").proof_of_work == ProofOfWork()
    text += 'max_number = 9\nchallenge_lasts = "1m"\nexchanges_per_second = 5\nrest = "0s"\n'
    assert parse_campaign(text, "c.toml").proof_of_work == ProofOfWork(
        max_number=9, challenge_lasts_s=60, exchanges_per_s=5, rest_us=0
    )


@pytest.mark.parametrize(
    ("line", "key", "sentence"),
    [
        ("proof_of_work = 1", "tickets.proof_of_work", "is a number; here true or false is expected"),
        ("proof = true", "tickets.proof", 'unknown key "proof"'),
        ("max_number = 0", "tickets.max_number", "from 1 to 50,000,000"),
        ("max_number = 50000001", "tickets.max_number", "from 1 to 50,000,000"),
        ("exchanges_per_second = 0", "tickets.exchanges_per_second", "from 1 to 1,000,000"),
        ('challenge_lasts = "29s"', "tickets.challenge_lasts", "not from 30 seconds to a day"),
        ('challenge_lasts = "2d"', "tickets.challenge_lasts", "not from 30 seconds to a day"),
        ('challenge_lasts = "long"', "tickets.challenge_lasts", "not a duration"),
        ('rest = "6m"', "tickets.rest", "at most 300 s"),
    ],
)
def test_a_mistake_in_the_tickets_table_is_told_with_its_line(line: str, key: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_campaign(f"{MINIMUM}[tickets]\n{line}\n", "c.toml")
    assert str(refused.value).startswith(f"c.toml:17: {key}: "), str(refused.value)
    assert sentence in str(refused.value)


def test_the_admission_table_changes_what_it_names_and_leaves_the_rest() -> None:
    lines = '[admission]\nqueueing_target = "7ms"\ninterval_max = "1m"\nlevel_at_opening = 0.9\n'
    terms = parse_campaign(MINIMUM + lines, "c.toml").admission
    assert terms == AdmissionTerms(queueing_target_ms=7, interval_max_ms=60_000, level_at_opening=0.9)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("level_at_opening = 1.5", "17: admission.level_at_opening: must be from 0 to 1"),
        ('wait_max = "61s"', '17: admission.wait_max: "61s" is too long: at most 60 s'),
        ('wait_max = "4ms"', "17: admission.wait_max: must not be below queueing_target"),
        ('queueing_target = "soon"', '17: admission.queueing_target: "soon" is not a duration'),
        ("target = 3", '17: admission.target: unknown key "target"'),
    ],
)
def test_a_mistake_in_the_admission_table_is_told_with_its_line(line: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse_campaign(f"{MINIMUM}[admission]\n{line}\n", "c.toml")
    assert f"c.toml:{sentence}" in str(told.value)
