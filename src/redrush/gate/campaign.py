"""A campaign as a gate serves it: its rounds, whose tickets are good for it, and what it offers at which path."""

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from redrush.core.identity.proof_of_work import ProofOfWork
from redrush.core.identity.tickets import KeyRing, TicketVerifier
from redrush.core.load.client_policy import ClientPolicy
from redrush.core.load.levels import AdmissionTerms
from redrush.core.money.payout_terms import PayoutTerms
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.draw import Lots
from redrush.core.rush.group import GroupTerms
from redrush.core.rush.holding import SlotAmounts
from redrush.core.rush.line import line_key
from redrush.core.rush.message import MessageTerms
from redrush.gate.admission import MakesWay
from redrush.gate.buying import BuyingRoutes
from redrush.gate.event_state import EventState
from redrush.gate.exchange import Exchange
from redrush.gate.grants import CodesOf, GrantWriter
from redrush.gate.group.asked import Asked
from redrush.gate.group.parts import GroupParts, GroupStage, ServedGroup
from redrush.gate.group.sharing import ClosedGrantWriter, SharedRound, Sharing
from redrush.gate.knowledge.knowledge import Knowledge
from redrush.gate.page_view import page_document, sound_document, worker_document
from redrush.gate.rush.draw import Draw
from redrush.gate.rush.granted import GrantedAnswers
from redrush.gate.rush.held import Held
from redrush.gate.rush.line import Entering, Joining, WaitingRoom, entering
from redrush.gate.rush.packet_homes import PacketHome
from redrush.gate.rush.packets import Packets
from redrush.gate.rush.rush import Floor, Rush
from redrush.gate.rush.sale import Sale
from redrush.gate.switches import Notice, Sampled, Sampling
from redrush.gate.views import GrantsView, PolicyView, RoundsView, RoundView
from redrush.http import answers
from redrush.http.route import Route, RouteFor
from redrush.http.site import Site
from redrush.http.ticket_check import TicketCheck
from redrush.page.content import content_of
from redrush.page.document import Page, page_of
from redrush.page.sounds import sound_files
from redrush.page.terms import PageTerms


class Event(msgspec.Struct, frozen=True):
    """What a gate must know of an event: read-only, the same in every gate."""

    campaign: Campaign
    amounts: SlotAmounts
    """What each slot holds, in minor units where that is money."""
    tickets: KeyRing
    receipts: KeyRing
    audience: Container[str] | None
    """Who may win; None: everybody."""
    policy: ClientPolicy = ClientPolicy()
    """What participants' clients are told to keep to."""
    proof_of_work: ProofOfWork | None = None
    """What a ticket must be exchanged for, before the opening; None: tickets are good as they are."""
    admission: AdmissionTerms = AdmissionTerms()
    group: GroupTerms | None = None
    """What packets between people may be; None: there are none."""
    group_parts: GroupParts | None = None
    """What they stand on; None: this gate does not serve them."""
    seed: bytes = b""
    """What is drawn of places in a line; needed where a round has one."""
    page: PageTerms = PageTerms()
    payout: PayoutTerms | None = None
    """How winners are paid; None: by somebody else."""
    messages: tuple[MessageTerms, ...] = ()
    """What winners are told, and by whom."""
    draw_keys: Mapping[str, bytes] = {}
    """Of each round that is a draw, the key of its lots."""
    codes: CodesOf | None = None
    """Finds the codes of pots that hold some."""


CHALLENGE: Final = b"/challenge"
"""Where, behind `/v1` or the campaign's prefix, challenges are given."""

Offer = Callable[[Site, bytes], None]
"""Serves something at a path of a site."""


class ServedCampaign:
    """See the module. `add_round` for each of its rounds, in order; then whoever serves it takes its `offers`."""

    def __init__(self, event: Event, floor: Floor, sampling: Sampling, notice: Notice) -> None:
        self.event = event
        self.rounds: list[Rush] = []
        proves = event.proof_of_work is not None
        self.tickets = TicketCheck(
            TicketVerifier(event.tickets, plain=not proves),
            unproven=TicketVerifier(event.tickets, proven=False) if proves else None,
        )
        """Tells the tickets of this campaign from all others."""
        self.exchange = self._exchange(floor)
        self.group: ServedGroup | None = None
        """Its packets between people; None: there are none."""
        self.offers: dict[bytes, Offer] = {}
        """What it has for participants, by what follows `/v1`, or `/v1/campaigns/{campaign}`, in the path."""
        self.page = page_document(self._page)
        self.worker = worker_document(lambda: self.event.page.offline)
        self.sharing = Sharing(floor.queries, floor.now_us, event.seed, lambda: self.group)
        """What winners of rounds do who open and share what they won."""
        self._claim_tickets: dict[str, TicketCheck] = {}
        """Whose tickets are good for claims, by the name of the round."""
        self._floor = floor
        self._sampling = sampling
        self._views: list[RoundView] = []
        view = GrantsView(self.rounds, floor.queries, floor.now_us, self._grants_of_packets)
        grants = MakesWay(self._sampled(floor.times.of_grants(view)), floor.admission)
        self.waiting_rooms: list[WaitingRoom] = []
        """Of those rounds that have one."""
        state = EventState(self.rounds, self.waiting_rooms, floor.now_us, self._interval_ms, floor.times, notice)
        name = event.campaign.id.encode("ascii")
        self._files: dict[bytes, Route] = {b"/c/" + name: self.page, b"/state/" + name + b".json": state}
        self._policy = PolicyView(msgspec.structs.replace(event.policy, proof_of_work=proves))
        self.offers[b"/rounds"] = self._public(self._sampled(RoundsView(self._views, floor.now_us, floor.times)))
        self.offers[b"/grants"] = self._ticketed(b"GET", grants, self.tickets)
        self.offers[b"/policy"] = self._public(self._policy)
        if self.exchange is not None:
            self._offer_exchange(self.exchange)

    @property
    def public(self) -> dict[bytes, Route]:
        """What it has for everybody at paths of its own; `advise` may change it."""
        sounds = sound_files(self.event.campaign.id, self.event.page.sounds)
        return self._files | {path.encode("ascii"): sound_document(file) for path, file in sounds.items()}

    def add_round(self, parts: Sequence[Knowledge]) -> Rush:
        """Have a rush in the pots of a round, of which `parts` know, and return it."""
        event, floor = self.event, self._floor
        rush = self._rush(parts)
        view = RoundView(rush, floor.now_us, event.policy.interval_ms, floor.times)
        self.rounds.append(rush)
        self._views.append(view)
        suffix = b"/rounds/" + rush.round.id.encode("ascii")
        tickets = self.tickets if rush.round.line is None else self._add_line(rush, view, suffix)
        self.offers[suffix + b"/grab"] = self._ticketed(b"POST", rush, tickets, getattr(rush, "reads", None))
        self._claim_tickets[rush.name] = tickets
        if isinstance(rush, Sale) and rush.has_key:
            self.offers[suffix + b"/grab/{}"] = partial(_serve_wrong_keys, rush, tickets)
        self.offers[suffix] = self._public(self._sampled(view))
        return rush

    def _share(self, shared: SharedRound) -> None:
        """Let winners of the round open and share."""
        self.sharing.rounds.append(shared)
        for suffix, route_for in ((b"/open", self.sharing.open), (b"/share", self.sharing.share)):
            self.offers[b"/grants/{}" + suffix] = self._ticketed_below(b"POST", route_for)

    def add_group(self, parts: GroupParts, homes: Sequence[PacketHome]) -> None:
        """Have packets between people; `homes` are the sets that they are at home in."""
        event = self.event
        assert event.group is not None
        stage = GroupStage(event.campaign, event.group, event.receipts, homes, self._floor.now_us)
        group = self.group = ServedGroup(stage, parts)
        for method, suffix, route in group.routes.exact():
            self._offer_also(suffix, self._ticketed_reading(method, route))
        for method, suffix, route_for in group.routes.below():
            self._offer_also(suffix, self._ticketed_below(method, route_for))

    def add_buying(self, routes: BuyingRoutes) -> list[bytes]:
        """Let buyers ask about what is held for them; return at which paths behind the prefix."""
        before = set(self.offers)
        for method, suffix, route in routes.exact():
            self._offer_also(suffix, self._ticketed_reading(method, route))
        for method, suffix, route_for in routes.below():
            self._offer_also(suffix, self._ticketed_below(method, route_for))
        return [suffix for suffix in self.offers if suffix not in before]

    async def _grants_of_packets(self, user: str) -> Sequence[str]:
        return () if self.group is None else await self.group.grants_of(user)

    def _offer_also(self, suffix: bytes, offer: Offer) -> None:
        """Offer something more at a path, which may have other methods already."""
        before = self.offers.get(suffix)
        self.offers[suffix] = offer if before is None else _both(before, offer)

    def _ticketed_reading(self, method: bytes, route: Asked) -> Offer:
        return lambda site, path: site.add(
            method, path, route, needs_ticket=True, tickets=self.tickets, reads=route.reads
        )

    def _ticketed_below(self, method: bytes, route_for: RouteFor) -> Offer:
        return lambda site, path: site.add_below(method, path, route_for, tickets=self.tickets)

    def unlock(self, sale: Sale, key: str) -> bytes | None:
        """Let claims in below this key; return where, if nobody could claim there before."""
        suffix = b"/rounds/" + sale.round.id.encode("ascii") + b"/grab/" + key.encode("ascii")
        sale.unlock(key)
        if suffix in self.offers:
            return None
        tickets = self._claim_tickets[sale.name]
        self.offers[suffix] = self._ticketed(b"POST", sale.keyed(), tickets, sale.keyed_reads)
        return suffix

    def _add_line(self, rush: Rush, view: RoundView, suffix: bytes) -> TicketCheck:
        """Have a waiting room before the round; returns what tells the tickets that the round takes then."""
        event, floor = self.event, self._floor
        key = line_key(event.seed, rush.round.id)
        room = view.line = WaitingRoom(rush, event.campaign.id, key, event.tickets, floor.now_us, event.audience)
        self.waiting_rooms.append(room)
        self.offers[suffix + b"/line"] = self._ticketed(b"POST", Joining(room), self.tickets)
        enter = Entering(room, b"")
        self.offers[suffix + b"/enter"] = lambda site, path: site.add(
            b"POST", path, enter, needs_ticket=True, reads=entering(room), tickets=self.tickets
        )
        return room.tickets()

    def ticketed(self, method: bytes, route: Route, reads: Callable[[bytes], Route] | None = None) -> Offer:
        """Return the offer of something that is no claim to whoever has a ticket; `reads` makes a route of a body."""
        sampled = self._sampled(route)
        read = None if reads is None else lambda body: self._sampled(reads(body))
        return lambda site, path: site.add(method, path, sampled, needs_ticket=True, reads=read, tickets=self.tickets)

    def _rush(self, parts: Sequence[Knowledge]) -> Rush:
        """Return the rush of the kind that the round is."""
        event, floor = self.event, self._floor
        round_ = parts[0].pot.round
        opened = [GrantWriter(event.campaign, part.pot, event.amounts, event.receipts, event.codes) for part in parts]
        if round_.draw is not None:
            lots = Lots(round_.draw, event.draw_keys[round_.id])
            granted = [GrantedAnswers(writer) for writer in opened]
            return Draw(parts, floor, granted, event.audience, lots, event.campaign.currency)
        if round_.sale is not None:
            held = Held(opened[0], event.campaign, round_.sale)
            return Sale(parts[0], floor, GrantedAnswers(opened[0]), event.audience, held)
        if round_.share is None:
            return Packets(parts[0], floor, GrantedAnswers(opened[0]), event.audience)
        closed = ClosedGrantWriter(event.campaign, parts[0].pot.id)
        rush = Packets(parts[0], floor, GrantedAnswers(closed), event.audience)
        self._share(SharedRound(event.campaign, rush, opened[0]))
        return rush

    def amend(self, campaign: Campaign) -> None:
        """Show the campaign as this from now on."""
        self.event = msgspec.structs.replace(self.event, campaign=campaign)
        self.page.forget()

    def advise(self, policy: ClientPolicy, page: PageTerms) -> None:
        """Tell clients to keep to this policy from now on, and show this page; what tickets must be exchanged for stays
        as it is."""
        self.event = msgspec.structs.replace(self.event, policy=policy, page=page)
        self.page.forget()
        self.worker.forget()
        self._policy.show(msgspec.structs.replace(policy, proof_of_work=self.event.proof_of_work is not None))
        for view in self._views:
            view.interval_ms = policy.interval_ms

    def exchange_at(self, prefix: str) -> None:
        """Send whoever has to exchange their ticket to the counter below this path."""
        self.tickets.must_exchange = answers.unproven_ticket(prefix)

    def _interval_ms(self) -> int:
        return self.event.policy.interval_ms

    def _page(self) -> Page:
        event = self.event
        content = content_of(
            event.campaign, event.policy, event.page, proves=event.proof_of_work is not None, group=event.group
        )
        return page_of(content, event.page)

    def _sampled(self, route: Route) -> Route:
        return Sampled(route, self._sampling)

    def _public(self, route: Route) -> Offer:
        return lambda site, path: site.add(b"GET", path, route, needs_ticket=False)

    def _ticketed(
        self, method: bytes, route: Route, tickets: TicketCheck, reads: Callable[[bytes], Route] | None = None
    ) -> Offer:
        return lambda site, path: site.add(
            method, path, route, needs_ticket=True, reads=reads, tickets=tickets, steady=reads is not None
        )

    def _exchange(self, floor: Floor) -> Exchange | None:
        event = self.event
        if event.proof_of_work is None:
            return None
        openings_us = [round_.opens_us for round_ in event.campaign.rounds]
        return Exchange(event.tickets, event.proof_of_work, openings_us, floor.now_us)

    def _offer_exchange(self, exchange: Exchange) -> None:
        """Let tickets be exchanged: the event asks for proof of work. No claim waits for it, so it is sampled."""
        for method, suffix, route_for in (
            (b"GET", CHALLENGE, exchange.challenge_for),
            (b"POST", b"/ticket", exchange.ticket_for),
        ):
            served = partial(_sampled_for, route_for, self._sampling)
            self.offers[suffix] = partial(_serve_counter, method, served, self.tickets)


def _serve_wrong_keys(sale: Sale, tickets: TicketCheck, site: Site, path: bytes) -> None:
    site.add_below(b"POST", path, lambda _key: sale, tickets=tickets)


def _both(first: Offer, second: Offer) -> Offer:
    def offer(site: Site, path: bytes) -> None:
        first(site, path)
        second(site, path)

    return offer


def _sampled_for(route_for: Callable[..., Route], sampling: Sampling, *asked: object) -> Route:
    return Sampled(route_for(*asked), sampling)


def _serve_counter(
    method: bytes, route_for: Callable[..., Route], tickets: TicketCheck, site: Site, path: bytes
) -> None:
    site.add_counter(method, path, route_for, tickets)
