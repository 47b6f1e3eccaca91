// Room: what is held for somebody: paid with a minimal order form, given back, or over. The server says how far an order
// is, and nothing here ends one: a unit is somebody's until the server says that it is not.
import { Unreached } from "./net.js";

const LOOK_ORDER_MS = 3000;
const LOOK_ORDER_SLOWLY_MS = 10000;
const LOOK_SHOP_MAX_MS = 300000;
const LOOKS_QUICK = 40;
const HOW_TRIES = 20;
const OVER = new Set(["returned", "refunded", "delivered"]);
const PAYABLE = new Set(["held", "paying"]);
const ORDER_SCREENS = { paying: "paying", closing: "paying", returning: "paying", sold: "bought", delivered: "bought", late: "late", recalling: "refunded", refunding: "refunded", refunded: "refunded" };

export class Till {
  constructor(page) {
    this.page = page;
    this.endedOf = new WeakSet(); // grants whose clock has ended
  }

  // Begin to pay, or ask once more how to; whoever takes the money may take a while to say how.
  async pay(rush) {
    const { page } = this;
    const address = page.screen.written("address");
    rush.paying = { said: "pay_wait" };
    page.render();
    for (let tries = 0; tries < HOW_TRIES && PAYABLE.has(rush.screen); tries += 1) {
      const told = await this.ask(`/holds/${rush.grant.id}/pay`, "POST", { ...(address && { address }), how: howHere(page.view) });
      if (!told || !PAYABLE.has(rush.screen)) break;
      if (told.status === 400) {
        rush.paying = { said: "address_wrong" };
        page.render();
        return;
      }
      if (told.status === 404 || told.status === 409) {
        rush.paying = null;
        await this.look(rush, true);
        return;
      }
      if (told.status < 300 && (told.body.state !== "paying" || told.body.pay)) {
        this.follow(rush, told.body);
        return;
      }
      await new Promise((resolve) => page.view.setTimeout(resolve, 1000 * (1 + page.draw())));
    }
    if (!PAYABLE.has(rush.screen)) return;
    rush.paying = { said: "pay_failed" };
    page.render();
  }

  async giveBack(rush) {
    const told = await this.ask(`/holds/${rush.grant.id}`, "DELETE");
    if (!rush.grant) return;
    if (told?.status < 300) this.follow(rush, told.body);
    else if (told?.status === 404 || told?.status === 409) await this.look(rush, true);
    else this.page.hintAt("unreached");
  }

  // How far is the order of what this person holds? Where there is none, a hold goes on until its time is over, or until
  // it is known to be gone.
  async look(rush, gone = false) {
    const told = await this.ask("/orders", "GET");
    if (!rush.grant) return;
    const orders = told?.status === 200 ? told.body.orders || [] : null;
    const order = orders?.find((one) => isOrderOf(one, rush));
    const over = gone || this.isOver(rush.grant);
    if (order) this.follow(rush, { ...order, pay: rush.order?.pay });
    else if (orders && over && !rush.order) this.over(rush, "hold_over");
    else if (over || rush.order) this.lookLater(rush);
  }

  // Heard how far an order is: show it, and look again until nothing more will become of it.
  follow(rush, order) {
    const { page } = this;
    const before = rush.order?.state;
    rush.paying = null;
    rush.order = order;
    // Nobody pays any more for what is coming back and has no payment.
    if (order.state === "returned" || (order.state === "returning" && !order.order)) {
      this.over(rush, order.why === "given_back" ? "given_back" : "hold_over");
      return;
    }
    const screen = ORDER_SCREENS[order.state] || "paying";
    const { grant } = rush;
    if (order.grant !== grant.id) page.person.drop(grant.id); // money that came late got another unit
    // The order's id is kept: after a reload it is looked at, too, until nothing more will become of it.
    rush.grant = { ...grant, id: order.grant, order: OVER.has(order.state) ? undefined : order.order };
    if (screen === "bought") rush.grant.hold = undefined;
    page.person.keep(rush.grant, screen === "bought");
    if (screen === "refunded") page.person.drop(rush.grant.id);
    if (screen !== rush.screen) {
      rush.looks = 0;
      if (screen === "bought" && before) page.screen.celebrate();
      rush.show(screen);
    } else page.render();
    if (!OVER.has(order.state)) this.lookLater(rush);
  }

  // Who has bought is in no hurry to hear of the shop, which may take days.
  lookLater(rush) {
    const { looks } = rush;
    rush.looks += 1;
    let pause = looks < LOOKS_QUICK ? LOOK_ORDER_MS : LOOK_ORDER_SLOWLY_MS;
    if (rush.screen === "bought") pause = Math.min(LOOK_ORDER_SLOWLY_MS * 2 ** looks, LOOK_SHOP_MAX_MS);
    this.page.alarms.after(`order ${rush.round.id}`, pause * (1 + this.page.draw() / 2), () => this.look(rush));
  }

  isOver({ hold }) {
    const { clock, now } = this.page;
    return Boolean(hold) && clock.known && Date.parse(hold.expires_at) <= now;
  }

  // The clock of a hold has ended. Somebody may have begun to pay, in another tab or without an answer: the server says.
  ended(rush) {
    if (this.endedOf.has(rush.grant)) return;
    this.endedOf.add(rush.grant);
    this.look(rush);
  }

  // It is held no longer; whoever wants another one asks again.
  over(rush, said) {
    const { page } = this;
    if (rush.grant) page.person.drop(rush.grant.id);
    page.alarms.clear(`order ${rush.round.id}`);
    Object.assign(rush, { grant: null, order: null, paying: null, looks: 0, screen: "ready", wanted: false });
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

// What a provider wants shown: a link where it is one that a device opens, fields for the script of WeChat's browser, else
// a code to be read. `qr` is what another device can read: of a page that this telephone is sent to, nothing.
export const waysToPay = ({ kind, payload }, view) => {
  if (kind === "jsapi" && payload.startsWith("{")) return { fields: JSON.parse(payload) };
  const qr = kind === "redirect" && howHere(view) !== "qr" ? null : payload;
  return /^(?:https?|weixin|wxpay|alipays?):\/\//i.test(payload) ? { url: payload, qr } : { code: payload, qr };
};

// What this device can be shown to pay by, as the server knows it: WeChat's own browser has a script for it, a telephone
// opens what it is sent to, and everything else shows a code to one.
export const howHere = ({ navigator: { userAgent } }) => {
  if (/MicroMessenger/i.test(userAgent)) return "jsapi";
  return /Android|iPhone|iPad|iPod|HarmonyOS|Mobile/i.test(userAgent) ? "redirect" : "qr";
};

// What is pressed to pay: a link, which says from where it is followed, for providers refuse who comes from nowhere; or
// the script of WeChat's browser. Nothing, where there is a code alone.
export const payAction = (name, text, { url, fields }, view) => {
  if (url) return { name, kind: "main", text, href: url, referrerpolicy: "origin" };
  if (!fields) return null;
  return { name, kind: "main", text, act: () => view.WeixinJSBridge?.invoke("getBrandWCPayRequest", fields, () => {}) };
};

// Whether an order is that of what a person holds. One slot may be held several times, one hold after the other: its
// payment names the order; before there is one, the hold is told by its end. Late money may get another slot.
const isOrderOf = (one, { grant, order }) => {
  const id = order?.order ?? grant.order;
  return id ? one.order === id : one.grant === grant.id && one.expires_at === grant.hold?.expires_at;
};
