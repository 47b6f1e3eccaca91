"""The data directory of the embedded form: which file holds what.

| file | what |
|---|---|
| `campaign.json` | the sealed campaign: instants, rounds, seed, hash of the amounts |
| `amounts.i64` | the amount of every slot, minor units, little-endian int64 |
| `amounts-1.i64` … | the amounts of slots that amendments have added (`redrush.control.adding`) |
| `pots.jsonl` | what the slots of pots that are no rounds hold (`redrush.control.pot_file`) |
| `packets.db` | group packets: who has created which, and what their shares hold (`redrush.records.sqlite.packets`) |
| `sales.db` | orders of flash sales: who pays for what is held (`redrush.records.sqlite.sales`) |
| `sale-keys.json` | the secret keys of sales, each from its opening on (`redrush.control.sale_keys`) |
| `payments.db` | bills with providers, and what was spent of balances (`redrush.records.sqlite.bills`) |
| `messages.db` | what winners are told, and what became of it (`redrush.records.sqlite.messages`) |
| `….mark` beside `payments.db`, `packets.db`, `sales.db`, `messages.db` | how far that book is, in case it is lost |
| `erasures.jsonl` | when personal data was erased, by whom and why |
| `event.json` | what of the campaign is open, not sealed: policy, limits, playbooks … (`redrush.control.event`) |
| `written.json` | the campaign file as it was written, with its comments; nothing rests on it |
| `keys.json` | ticket and receipt keys; whoever has them can make tickets |
| `audience-additions.jsonl` | who was added to the audience while the event ran, by whom and why |
| `audience-additions.mark` | how far that file is, for the case that it is not there any more |
| `journal.db` | the store: which slot belongs to whom. The authority |
| `journal.witness` | how far the journal is, for the case that it is not there any more (`redrush.control.witness`) |
| `records.db` | grants and ledger: a projection of the journal, rebuilt at any time |
| `line-ROUND.json`, `line-ROUND.tsv` | how far a round's line is; who stands in it (`redrush.control.line_files`) |
| `switches.jsonl` | what operators and rules have switched: the audit log, and by replay the state |
| `switches.mark` | how far that log is, for the case that it is not there any more (`redrush.control.switch_mark`) |
| `control-token` | whoever has it may switch, under the name of the event |
| `operators.json` | who may switch under a name of their own, each with the hash of a token |
| `operators-used.json` | when those tokens were used last; nothing rests on it |
| `accounts.json` | who may log in to the console, and its API keys, each with the hash of a secret |
| `console.jsonl` | what people did in the console besides switching, each line with a fingerprint of all before it |
| `console-sessions.json` | who is logged in there; nothing rests on it |
| `console-drills.json` | what became of drills that were played from there |
| `console-reports/` | the last reports of events that were made there; nothing rests on them |
| `console-sets.json` | how the sets of its deployment were when a console looked last |
| `console-proposals.json` | which changes wait there for a second person, or for their time |
| `console-schedules.json` | which drafts wait there for the time at which they are to be served |
| `campaigns/ID`, `campaigns.json`, `campaigns.jsonl` | more campaigns, each a directory like this; their list; a log |
| `control-port.json` | where the control port of the running server is |
| `switches-heard.json` | the switches as the gates of a stack heard them last, from the control role |
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from redrush.control.private import UMASK, make_private
from redrush.errors import ConfigError

OURS: Final = (
    "campaign.json",
    "amounts.i64",
    "pots.jsonl",
    "packets.db",
    "payments.db",
    "payments.mark",
    "messages.db",
    "messages.mark",
    "packets.mark",
    "sales.mark",
    "erasures.jsonl",
    "sales.db",
    "sale-keys.json",
    "codes.jsonl",
    "event.json",
    "written.json",
    "client_policy.json",
    "proof_of_work.json",
    "keys.json",
    "audience-additions.jsonl",
    "audience-additions.mark",
    "journal.db",
    "journal.witness",
    "generations.jsonl",
    "records.db",
    "switches.jsonl",
    "switches.mark",
    "plans.json",
    "control-token",
    "operators.json",
    "operators-used.json",
    "control-port.json",
    "switches-heard.json",
    "deployment.toml",
    "records.dsn",
    "founded.json",
    "processes.json",
    "stack.lock",
    "campaigns",
    "campaigns.json",
    "campaigns.jsonl",
    "campaigns.lock",
    "valkey",
    "control",
    "sets",
    "postgres",
    "logs",
)
"""Names in the directory, and beginnings of names, that are made private; others may be a person's own."""


class DataDir(msgspec.Struct, frozen=True):
    """Paths in one data directory."""

    root: Path

    @property
    def campaign(self) -> Path:
        """The sealed campaign."""
        return self.root / "campaign.json"

    @property
    def pots(self) -> Path:
        """The tables of pots that are no rounds."""
        return self.root / "pots.jsonl"

    @property
    def packets(self) -> Path:
        """The book of group packets."""
        return self.root / "packets.db"

    @property
    def sales(self) -> Path:
        """The book of sales' orders."""
        return self.root / "sales.db"

    @property
    def sale_keys(self) -> Path:
        """The secret keys of sales that have opened."""
        return self.root / "sale-keys.json"

    @property
    def payments(self) -> Path:
        """The bill book."""
        return self.root / "payments.db"

    @property
    def messages(self) -> Path:
        """The book of messages to winners."""
        return self.root / "messages.db"

    @property
    def erasures(self) -> Path:
        """When personal data was erased, by whom and why: a JSON object a line."""
        return self.root / "erasures.jsonl"

    @property
    def codes(self) -> Path:
        """The codes of prizes, encrypted (`redrush.control.code_file`)."""
        return self.root / "codes.jsonl"

    @property
    def amounts(self) -> Path:
        """The amounts table."""
        return self.root / "amounts.i64"

    def added_amounts(self, number: int) -> Path:
        """The amounts table of the campaign's addition of that number, from 1."""
        return self.root / f"amounts-{number}.i64"

    @property
    def event(self) -> Path:
        """The open part of the campaign."""
        return self.root / "event.json"

    @property
    def written(self) -> Path:
        """The campaign file as it was written (`redrush.control.written`)."""
        return self.root / "written.json"

    @property
    def before_event_file(self) -> tuple[Path, Path, Path]:
        """Where earlier releases kept parts of that: the client policy, what is asked for tickets, the plans."""
        return (self.root / "client_policy.json", self.root / "proof_of_work.json", self.root / "plans.json")

    @property
    def keys(self) -> Path:
        """The secret keys."""
        return self.root / "keys.json"

    @property
    def audience_additions(self) -> Path:
        """Who was added to the audience."""
        return self.root / "audience-additions.jsonl"

    @property
    def journal(self) -> Path:
        """The store's log."""
        return self.root / "journal.db"

    @property
    def witness(self) -> Path:
        """The file that says how far the journal is, apart from the journal."""
        return self.root / "journal.witness"

    @property
    def generations(self) -> Path:
        """When the journal was made anew, by whom and why: a JSON object a line."""
        return self.root / "generations.jsonl"

    @property
    def deployment(self) -> Path:
        """The deployment file, if this is the directory of a stack: there the store and the records are servers."""
        return self.root / "deployment.toml"

    @property
    def records(self) -> Path:
        """Grants and ledger."""
        return self.root / "records.db"

    def line(self, round_id: str) -> Path:
        """How far the line of a round is."""
        return self.root / f"line-{round_id}.json"

    def line_list(self, round_id: str) -> Path:
        """Who stands in the line of a round."""
        return self.root / f"line-{round_id}.tsv"

    @property
    def switches(self) -> Path:
        """The audit log of switches."""
        return self.root / "switches.jsonl"

    @property
    def control_token(self) -> Path:
        """The secret of the control port."""
        return self.root / "control-token"

    @property
    def operators(self) -> Path:
        """Who may switch under a name of their own."""
        return self.root / "operators.json"

    @property
    def operators_used(self) -> Path:
        """When the tokens of operators were used last."""
        return self.root / "operators-used.json"

    @property
    def accounts(self) -> Path:
        """Who may log in to the console, and its API keys."""
        return self.root / "accounts.json"

    @property
    def reports(self) -> Path:
        """The reports of its campaigns that the console has made."""
        return self.root / "console-reports"

    @property
    def campaigns(self) -> Path:
        """Where more campaigns are, each in a directory of its own."""
        return self.root / "campaigns"

    @property
    def campaign_list(self) -> Path:
        """Which those are."""
        return self.root / "campaigns.json"

    @property
    def campaign_log(self) -> Path:
        """Who has added and ended them."""
        return self.root / "campaigns.jsonl"

    @property
    def control_port(self) -> Path:
        """Where the control port is."""
        return self.root / "control-port.json"

    @property
    def switches_heard(self) -> Path:
        """The switches as whoever follows the control role heard them last."""
        return self.root / "switches-heard.json"

    def create(self) -> None:
        """Make the directory, readable by its owner only, as what is ours in it. ConfigError if that cannot be.

        Whatever this process makes from then on is its owner's alone, also files that SQLite adds to its own.
        """
        os.umask(UMASK)
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            make_private([self.root, *(path for path in self.root.iterdir() if _is_ours(path.name))])
        except (FileExistsError, NotADirectoryError) as fault:
            raise ConfigError(f"{self._no_directory()}: is a file; give the name of a directory for data") from fault
        except OSError as fault:
            raise ConfigError(f"{self.root}: cannot be created, or made its owner's alone: {fault.strerror}") from fault

    def _no_directory(self) -> Path:
        """Return what is no directory of those that the path goes through."""
        return next((one for one in reversed(self.root.parents) if one.exists() and not one.is_dir()), self.root)

    def require(self) -> None:
        """Raise ConfigError unless a campaign has been sealed here."""
        if not self.campaign.is_file():
            raise ConfigError(
                f"{self.root}: holds no campaign; `redrush seal FILE --data {self.root}` makes one of a campaign file"
            )


_BEGINNINGS: Final = (
    "journal.db-",
    "journal.db.",
    "records.db-",
    "records.db.",
    "amounts-",
    "line-",
    "packets.db-",
    "payments.db-",
    "messages.db-",
    "accounts.",
    "console",
    "sales.db-",
)


def _is_ours(name: str) -> bool:
    return name in OURS or name.startswith(_BEGINNINGS)
