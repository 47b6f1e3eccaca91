// Room: a new ticket while its person is logged in, long before the old one ends and not when everybody's does.
import { Unreached } from "./net.js";

const RENEWED_AHEAD_MS = 600000;
const RENEWED_WITHIN_MS = 300000;
const RENEW_AGAIN_MS = 30000;

export class Renewal {
  constructor(page) {
    this.page = page;
    this.about = null;
  }

  // Called whenever something was heard: arms the next renewal once for each ticket.
  watch() {
    const { page } = this;
    const { person, config, draw } = page;
    const { who } = person;
    if (!config.page.renew || !who || this.about === person.ticket) return;
    this.about = person.ticket;
    // Within ten to five minutes of the end; a ticket that is shorter is renewed in the second half of what is left.
    const left = () => who.expires * 1000 - page.now;
    const ahead = Math.min(RENEWED_AHEAD_MS - draw() * RENEWED_WITHIN_MS, left() * (0.2 + draw() * 0.3));
    page.alarms.set("renew", () => left() - ahead, () => this.renew());
  }

  async renew() {
    const { page } = this;
    const { person, config, net } = page;
    const user = person.who?.user;
    try {
      const { status, body, ours } = await net.ask(config.page.renew, { method: "POST", credentials: "include" });
      if (status === 200 && ours && typeof body.ticket === "string") {
        person.ticket = body.ticket;
        if (person.who?.user !== user) page.view.location.reload(); // somebody else has logged in meanwhile
        page.renewed();
        return;
      }
      if (status < 500) return; // nobody is logged in any more: the page says so when the ticket ends
    } catch (fault) {
      if (!(fault instanceof Unreached)) throw fault;
    }
    page.alarms.after("renew", RENEW_AGAIN_MS * (0.5 + page.draw()), () => this.renew());
  }
}
