// Room: who is here. The ticket, until when it is good, what its person has chosen and has won, as this device keeps it.
import { readTicket, ticketAtTheDoor } from "./memory.js";

export class Person {
  // `now()` is the server's time in ms, or null while it is not known.
  constructor(memory, view, now) {
    Object.assign(this, { memory, view, now, refused: null });
    const found = ticketAtTheDoor(view.location, view.history, view.document.cookie);
    this.cut = found !== null && !readTicket(found);
    if (found && !this.cut) this.comes(found);
    view.addEventListener("hashchange", () => {
      const ticket = ticketAtTheDoor(view.location, view.history, "");
      if (!readTicket(ticket)) return;
      memory.set("ticket", ticket);
      view.location.reload();
    });
  }

  // Back from the login, with what stood behind the # when it was begun: a packet of somebody's.
  comes(ticket) {
    const { location, history } = this.view;
    this.memory.set("ticket", ticket);
    const then = this.memory.get("then");
    this.memory.set("then", null);
    if (then && !location.hash) history.replaceState(history.state, "", location.pathname + location.search + then);
  }

  leaves() {
    this.memory.set("then", this.view.location.hash || null);
  }

  get ticket() {
    const kept = this.memory.get("ticket");
    return readTicket(kept) && kept;
  }

  set ticket(ticket) {
    this.memory.set("ticket", ticket);
  }

  get who() {
    return readTicket(this.ticket);
  }

  // Whether the ticket is good no more: its time is over, or a gate has refused it, as one of another campaign.
  get expired() {
    if (this.who !== null && this.refused === this.ticket) return true;
    return this.who !== null && this.now() !== null && this.who.expires * 1000 <= this.now();
  }

  // What is kept of this person alone, by kind and what it is about.
  of(kind, about) {
    return this.memory.get(`${kind}:${this.who?.user}:${about}`);
  }

  keepOf(kind, about, value) {
    this.memory.set(`${kind}:${this.who.user}:${about}`, value);
  }

  get wins() {
    return (this.who && this.memory.get(`wins:${this.who.user}`)) || {};
  }

  keep(grant, opened) {
    const wins = this.wins;
    const before = wins[grant.id];
    wins[grant.id] = { grant: { ...before?.grant, ...grant }, opened: opened || before?.opened === true };
    this.memory.set(`wins:${this.who.user}`, wins);
  }

  drop(id) {
    const wins = this.wins;
    delete wins[id];
    this.memory.set(`wins:${this.who.user}`, wins);
  }
}
