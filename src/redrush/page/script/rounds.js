// Room: the rounds of the event. What the state file tells of each, which of them is looked at, and taking part in it.
import { Line } from "./line.js";
import { Rush } from "./rush.js";

const AHEAD_MS = 60000;
const CALM_MS = 60000;

export class Rounds {
  constructor(page) {
    this.page = page;
    this.all = page.config.rounds.map((round) => ({ ...round }));
    this.rushes = new Map();
    this.lines = new Map();
    this.chosen = null;
    this.told = null;
  }

  get rush() {
    return this.rushes.get(this.chosen);
  }

  round(id) {
    return this.all.find((one) => one.id === id);
  }

  // What a grant is of, in words: a round, or a packet between people.
  nameOf({ round, from }) {
    const { speech } = this.page;
    if (!round) return from ? speech.say("packet_from", { name: from }) : speech.say("packet_of_friend");
    return this.round(round)?.name || speech.say("close_mine", { round });
  }

  lineOf(rush) {
    return this.lines.get(rush.round.id);
  }

  opensIn(id) {
    const round = this.round(id);
    return round && this.page.clock.known ? round.opens - this.page.now : Infinity;
  }

  // Whether nothing opens soon, or has opened just now: the time for what can wait.
  get calm() {
    return !this.all.some(({ id }) => Math.abs(this.opensIn(id)) < CALM_MS);
  }

  // Rounds that are still to open, the next one first.
  get coming() {
    const coming = this.all.filter(({ id }) => this.opensIn(id) > 0 && this.opensIn(id) < Infinity);
    return coming.sort((one, other) => one.opens - other.opens);
  }

  hear(state) {
    for (const told of state.rounds || []) this.hearRound(told);
    this.told = state;
    const current = state.round;
    if (!this.chosen) this.chosen = current;
    const { rush } = this;
    if (rush?.round.kind === "group") return;
    // What opens later goes before what is over, unless somebody is looking at what they have just won. One that has been
    // open all the time takes nobody from what they have chosen.
    const other = [this.coming[0]?.id, current].find((id) => this.opensIn(id) < AHEAD_MS) ?? current;
    const later = this.opensIn(other) < AHEAD_MS && this.opensIn(other) > this.opensIn(this.chosen);
    if (!rush) this.chosen = current;
    else if (rush.decided && later && rush.screen !== "sealed") this.chosen = other;
    this.enter(this.chosen);
  }

  hearRound(told) {
    let round = this.round(told.round);
    if (!round) {
      round = { id: told.round, opens: told.opens, closes: told.closes };
      this.all.push(round);
    }
    const moved = round.opens !== told.opens && told.phase === "before";
    const was = round.opens;
    Object.assign(round, { phase: told.phase, left: told.left, closes: told.closes, serving: told.serving });
    const rush = this.rushes.get(round.id);
    if (told.plays) round.counts = told.plays;
    if (rush) {
      if (told.plays) rush.heardOfPlays(told.plays);
      rush.key = told.key;
      rush.advised = told.interval_ms;
      if (told.phase === "closed" && ["ready", "before", "again"].includes(rush.screen) && !rush.busy) rush.show("closed");
      if (told.phase === "open" && told.left === "none" && rush.screen === "ready") rush.show("empty");
    }
    this.lines.get(round.id)?.serving(told.serving ?? -1);
    if (was !== told.opens) {
      round.opens = told.opens;
      rush?.moved(told.opens);
      const { screen, speech } = this.page;
      if (moved && rush) screen.announce(speech.say("moved", { when: speech.when(told.opens) }));
    }
  }

  // While nothing can be heard, what was won last is what there is to see.
  recall() {
    const last = Object.values(this.page.person.wins).pop();
    if (!last || !this.round(last.grant.round)) return;
    this.chosen = last.grant.round;
    this.enter(this.chosen);
  }

  // Take part in a round, as far as that can be by now.
  enter(id) {
    const { page } = this;
    const { person } = page;
    const round = this.round(id);
    if (!round || this.rushes.has(id)) return;
    const won = Object.values(person.wins).filter(({ grant }) => grant.round === id).pop();
    const shows = won && (round.kind !== "draw" || !won.opened);
    if (!page.clock.known && !shows) return;
    const rush = new Rush(round, page.config.policy, this.house());
    this.rushes.set(id, rush);
    rush.key = this.told?.rounds?.find((one) => one.round === id)?.key ?? null;
    rush.auto = page.auto;
    rush.play = person.of("play", id) ?? 1;
    if (round.counts) rush.heardOfPlays(round.counts);
    if (shows) {
      rush.has(won.grant, won.opened);
      if (won.grant.hold || won.grant.order) page.till.look(rush);
      return;
    }
    if (!person.ticket) return;
    if (person.expired) rush.show("expired");
    else if (round.phase === "closed") rush.show("closed");
    else {
      if (page.config.pow && !person.who.proven) page.prove();
      if (round.line) this.lineUp(rush);
      rush.begin();
    }
  }

  // With a new ticket what stopped for the old one is entered anew: a friend's packet before any round.
  goOn() {
    for (const [id, rush] of this.rushes) {
      if (rush.screen !== "expired") continue;
      this.rushes.delete(id);
      this.lines.delete(id);
    }
    this.page.packets.enter();
    this.enter(this.chosen);
  }

  lineUp(rush) {
    const { person } = this.page;
    const { id } = rush.round;
    const line = this.lines.get(id) || new Line(rush, rush.house, person.of("pass", id), (pass) => person.keepOf("pass", id, pass));
    this.lines.set(id, line);
    line.begin();
  }

  // What a round, and a line before it, may use of the page.
  house() {
    const { page } = this;
    const { person } = page;
    return {
      net: page.net,
      alarms: page.alarms,
      clock: page.clock,
      gates: page.gates,
      bases: page.bases,
      view: page.view,
      draw: page.draw,
      ticket: () => person.ticket,
      expired: () => person.expired,
      leads: () => page.tabs.leads,
      look: () => page.follower.look(),
      prove: () => page.prove(),
      lineUp: (rush) => this.lineUp(rush),
      played: (rush) => person.keepOf("play", rush.round.id, rush.play),
      changed: (rush, was) => this.changed(rush, was),
      won: (rush, grant, repeat) => page.winnings.won(rush, grant, repeat),
    };
  }

  changed(rush, was) {
    if (rush.round.id !== this.chosen) return;
    this.page.sounds.follow(rush, was);
    const model = this.page.render();
    if (rush.screen !== "before") this.say(model, rush);
  }

  // Tell what is shown to whoever listens: of what was won, what it is.
  say({ headline, line }, rush) {
    const worth = ["won", "bought"].includes(rush?.screen) ? this.page.winnings.worth(rush.grant) : "";
    this.page.screen.announce([headline, worth, line].filter(Boolean).join(" "));
  }

  choose(id) {
    this.page.packets.leave();
    this.chosen = id;
    this.enter(id);
    this.say(this.page.render(), this.rush);
    this.page.view.scrollTo({ top: 0 });
  }
}
