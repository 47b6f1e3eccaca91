"""The plans of an event: its playbooks and rules, and the switches that follow from them."""

import msgspec

from redrush.core.rush.campaign import Campaign
from redrush.core.steering.rules import Rule
from redrush.core.steering.switches import Playbook, Registry, WrongSetting, registry_of, shown


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
            ((round_.id, round_.line.pace_per_s) for round_ in campaign.rounds if round_.line is not None),
        )
