"""The plans of an event: its playbooks and rules, kept in the data directory for whoever has no campaign file."""

import msgspec

from redrush.control.data_dir import DataDir
from redrush.control.durable_file import write_durably
from redrush.core.rush.campaign import Campaign
from redrush.core.steering.rules import Rule
from redrush.core.steering.switches import Playbook, Registry, WrongSetting, registry_of, shown
from redrush.errors import ConfigError


class Plans(msgspec.Struct, frozen=True):
    """What operators have prepared. Unlike rounds and amounts it may change at every start."""

    playbooks: tuple[Playbook, ...] = ()
    rules: tuple[Rule, ...] = ()
    exchanges_per_s: int | None = None
    """What each gate does until it is switched; None: tickets are not exchanged in this event."""

    def playbook(self, name: str) -> Playbook:
        """Return the playbook of that name. Raises WrongSetting, with those there are, if there is none."""
        for playbook in self.playbooks:
            if playbook.name == name:
                return playbook
        known = ", ".join(playbook.name for playbook in self.playbooks) or "none"
        raise WrongSetting(f'"{shown(name)}" is no playbook of this campaign; there are {known}')

    def registry(self, campaign: Campaign) -> Registry:
        """Return the switches of the event."""
        return registry_of(
            ((round_.id, round_.release_per_s) for round_ in campaign.rounds),
            (rule.name for rule in self.rules),
            self.exchanges_per_s,
        )


def keep_plans(data_dir: DataDir, plans: Plans) -> None:
    """Write the plans down. ConfigError if the disk refuses."""
    try:
        write_durably(data_dir.plans, msgspec.json.format(msgspec.json.encode(plans)))
    except OSError as fault:
        raise ConfigError(f"{data_dir.plans}: cannot be written: {fault.strerror}") from fault


def load_plans(data_dir: DataDir) -> Plans:
    """Return the plans that were kept last; none if there were never any. ConfigError if the file is not readable."""
    try:
        return msgspec.json.decode(data_dir.plans.read_bytes(), type=Plans)
    except FileNotFoundError:
        return Plans()
    except OSError as fault:
        raise ConfigError(f"{data_dir.plans}: cannot be read: {fault.strerror}") from fault
    except msgspec.DecodeError as fault:
        raise ConfigError(f"{data_dir.plans}: is not a file of plans: {fault}") from fault
