// Room: what is held for somebody: paid with a minimal order form, given back, or over. The server says how far an order
// is, and nothing here ends one: a unit is somebody's until the server says that it is not.
import { Unreached } from "./net.js";

const LOOK_ORDER_MS = 3000;
const LOOK_ORDER_SLOWLY_MS = 10000;
const LOOKS_QUICK = 40;
const HOW_TRIES = 20;
const OVER = new Set(["returned", "refunded", "delivered"]);
const ORDER_SCREENS = { paying: "paying", closing: "paying", returning: "paying", sold: "bought", delivered: "bought", late: "late", refunding: "refunded", refunded: "refunded" };

export class Till {
  constructor(page) {
    this.page = page;
    this.looks = 0;
  }

  // Begin to pay; whoever takes the money may take a while to say how.
  async pay(rush) {
    const { page } = this;
    const address = page.screen.written("address");
    rush.paying = { said: "pay_wait" };
    page.render();
    for (let tries = 0; tries < HOW_TRIES; tries += 1) {
      const told = await this.ask(`/holds/${rush.grant.id}/pay`, "POST", address ? { address } : null);
      if (!told || rush.screen !== "held") break;
      if (told.status === 400) {
        rush.paying = { said: "address_wrong" };
        page.render();
        return;
      }
      if (told.status === 404 || told.status === 409) {
        this.over(rush, "hold_over");
        return;
      }
      if (told.status < 300 && (told.body.state !== "paying" || told.body.pay)) {
        this.follow(rush, told.body);
        return;
      }
      await new Promise((resolve) => page.view.setTimeout(resolve, 1000 * (1 + page.draw())));
    }
    if (rush.screen !== "held") return;
    rush.paying = { said: "pay_failed" };
    page.render();
  }

  // Once more how to pay, for whoever has begun and has come back to a page that does not know.
  again(rush) {
    rush.screen = "held";
    return this.pay(rush);
  }

  async giveBack(rush) {
    const told = await this.ask(`/holds/${rush.grant.id}`, "DELETE");
    if (told?.status < 300 || told?.status === 404) this.over(rush, "given_back");
    else if (told?.status === 409) await this.look(rush);
    else this.page.hintAt("unreached");
  }

  // How far is the order of what this person holds? Nothing changes where nobody has begun to pay.
  async look(rush) {
    const told = await this.ask("/orders", "GET");
    const order = told?.status === 200 && (told.body.orders || []).find(({ grant }) => grant === rush.grant?.id);
    if (order) this.follow(rush, { ...order, pay: rush.order?.pay });
    else if (rush.order) this.lookLater(rush);
  }

  // Heard how far an order is: show it, and look again until nothing more will become of it.
  follow(rush, order) {
    const { page } = this;
    const before = rush.order?.state;
    rush.paying = null;
    rush.order = order;
    if (order.state === "returned") {
      this.over(rush, order.why === "given_back" ? "given_back" : "hold_over");
      return;
    }
    const screen = ORDER_SCREENS[order.state] || "paying";
    if (screen === "bought") {
      rush.grant = { ...rush.grant, hold: undefined };
      page.person.keep(rush.grant, true);
    }
    if (screen === "refunded") page.person.drop(rush.grant.id);
    if (screen !== rush.screen) {
      if (screen === "bought" && before) page.screen.celebrate();
      rush.show(screen);
    } else page.render();
    if (!OVER.has(order.state) && screen !== "bought") this.lookLater(rush);
  }

  lookLater(rush) {
    this.looks += 1;
    const pause = this.looks > LOOKS_QUICK ? LOOK_ORDER_SLOWLY_MS : LOOK_ORDER_MS;
    this.page.alarms.after(`order ${rush.round.id}`, pause * (1 + this.page.draw() / 2), () => this.look(rush));
  }

  // The clock of a hold has ended and nobody has begun to pay: the server says what is.
  ended(rush) {
    this.over(rush, "hold_over");
  }

  // It is held no longer; whoever wants another one asks again.
  over(rush, said) {
    const { page } = this;
    if (rush.grant) page.person.drop(rush.grant.id);
    page.alarms.clear(`order ${rush.round.id}`);
    Object.assign(rush, { grant: null, order: null, paying: null, screen: "ready", wanted: false });
    page.hintAt(said);
  }

  // An answer of whatever status, or null if there was none.
  async ask(path, method, body = null) {
    try {
      return await this.page.tell(path, method, body);
    } catch (fault) {
      if (!(fault instanceof Unreached)) throw fault;
      return null;
    }
  }
}

// What a provider wants shown: a link where it is one that a device opens, else a code to be read.
export const waysToPay = (payload) => (/^(?:https?|weixin|wxpay|alipays?):\/\//i.test(payload) ? { url: payload } : { code: payload });
