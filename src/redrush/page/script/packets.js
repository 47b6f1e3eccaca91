// Room: packets between people. The form that sends one, its link, and entering by the link of somebody else's.
import { Unreached } from "./net.js";
import { Rush } from "./rush.js";
import { Sending } from "./sending.js";
import { payAction } from "./till.js";

const PACKET_ID = /^[0-9a-f]{32}$/;
const LINK = /(?:^#|&)packet=([^&]*)/;
const AMOUNT = /^\d+(\.\d+)?$/;
const LOOKS_MAX = 6;
const LOOK_AGAIN_MS = 1000; // and twice as long each time

// Why a packet was refused, in words of the page: what a server says of it is for engineers, and in English.
const WHY_OF_FIELD = { total: "why_total", count: "why_count", greeting: "why_greeting", word: "why_word" };
const WHY_OF_REASON = { short: "why_short", sender_day_max: "why_day" };
const WHY_OF_STATUS = { 401: "why_expired", 429: "why_busy", 503: "why_busy" };

export class Packets {
  constructor(page) {
    this.page = page;
    this.sending = null;
    this.said = null; // the name of a text and its values, so that it is told in the language that is spoken then
    this.payable = null;
    this.link = null; // of what was sent last
  }

  // Where people may send packets to each other, and whoever is here is somebody.
  offer() {
    const { config, person, speech, screen } = this.page;
    if (!config.group || !person.ticket) return;
    const say = (name) => speech.say(name);
    const kinds = config.group.kinds.map((kind) => [kind, say(kind === "equal" ? "send_equal" : "send_lucky")]);
    const fields = [
      ["total", say("send_total"), "decimal"],
      ["count", say("send_count"), "numeric"],
      ["kind", say("send_kind"), kinds],
      ["greeting", say("send_greeting"), "text"],
      ["word", say("send_word"), "text"],
    ];
    screen.form(say("send"), fields, say("send_go"), (wish) => this.send(wish));
    if (this.payable) this.showPayment(this.payable);
    else if (this.said) this.say(...this.said);
  }

  say(name, values = {}) {
    this.said = [name, values];
    const { screen, speech } = this.page;
    const why = values.why && speech.say(...values.why);
    screen.text("send_said", speech.say(name, { ...values, why }));
    const [text, label] = this.payable ? [this.payable.qr, "qr_pay"] : [this.link, "qr_link"];
    screen.qr("send_qr", text && { text, label: speech.say(label) });
  }

  async send(written) {
    if (this.sending) return;
    const { view } = this.page;
    const wish = { ...written, total: plain(written.total), count: plain(written.count) };
    this.link = null;
    if (!this.isAmount(wish.total)) {
      this.say("send_failed", { why: ["why_amount", { example: this.example }] });
      return;
    }
    this.say("send_busy");
    const shown = (how) => this.showPayment(how);
    const tell = (path, method, body) => this.page.tell(path, method, body);
    this.sending = new Sending({ tell, view, shown });
    const done = await this.sending.send(wish);
    this.sending = null;
    const link = this.linkOf(done.id);
    if (done.id) this.link = link;
    this.say(done.outcome, { link, why: "refused" in done && (await this.whyOf(done.refused)) });
    if (done.id) await this.page.outside.share(link, "passed_on");
  }

  isAmount(text) {
    return AMOUNT.test(text) && (text.split(".")[1] ?? "").length <= this.page.config.digits;
  }

  // An amount as it is to be written.
  get example() {
    const { digits } = this.page.config;
    return digits ? `6.${"6".repeat(digits)}` : "6";
  }

  // The name of a text, and its values.
  async whyOf(refused) {
    if (!refused) return ["why_unreached"];
    const { status, body, ours } = refused;
    const { config, speech } = this.page;
    const name = (ours && (WHY_OF_REASON[body.reason] || WHY_OF_FIELD[body.field])) || WHY_OF_STATUS[status];
    if (!name) return [status < 300 ? "why_unpaid" : "why_other"];
    const values = {};
    if (name === "why_total" || name === "why_count") {
      const terms = await this.page.tell("/packets/terms", "GET").catch(() => null);
      if (terms?.status !== 200) return ["why_other"];
      const [least, most, left] = ["share_min", "share_max", "sender_day_left"].map((key) => speech.money(terms.body[key]));
      Object.assign(values, { least, most, left, count: speech.number(terms.body.count_max) });
    }
    if (body.available) values.available = speech.money(body.available);
    if (name === "why_word") [values.least, values.most] = config.group.word;
    return [name, values];
  }

  // How the packet is to be paid, and the way out of it.
  showPayment(how) {
    const { screen, speech } = this.page;
    this.payable = how;
    if (how === null) {
      screen.fill("send_pay", []);
      return;
    }
    if (how.code) this.say("pay_code", how);
    else this.say("send_pay");
    const open = payAction("send_open", speech.say("pay_open"), how, this.page.view);
    const cancel = { name: "send_cancel", text: speech.say("send_cancel"), act: () => this.cancel() };
    screen.fill("send_pay", open ? [open, cancel] : [cancel]);
  }

  async cancel() {
    try {
      await this.sending?.cancel();
    } catch (fault) {
      if (!(fault instanceof Unreached)) throw fault;
      this.page.hintAt("unreached");
    }
  }

  // A packet for friends, paid by the sponsor: its link, to be sent to them.
  async passOn(rush) {
    const packet = await this.page.order(`/grants/${rush.grant.id}/share`);
    if (!packet) return;
    rush.link = this.linkOf(packet.id);
    this.page.render();
    await this.page.outside.share(rush.link, "passed_on");
  }

  linkOf(packet) {
    return `${this.page.outside.home}#packet=${packet}`;
  }

  // A packet between people that somebody has sent the link of: "#packet=…".
  async enter() {
    const { page } = this;
    const { person, rounds } = page;
    const found = LINK.exec(page.view.location.hash);
    const id = found ? `packet-${found[1]}` : null;
    if (!id || !person.ticket || person.expired) return;
    if (rounds.rushes.has(id)) {
      rounds.chosen = id;
      return;
    }
    const name = page.speech.say("packet_from", { name: "…" });
    const round = { id, kind: "group", packet: found[1], opens: 0, closes: Infinity, name };
    const rush = new Rush(round, page.config.policy, rounds.house());
    rounds.rushes.set(id, rush);
    rounds.chosen = id;
    rush.startAt = 0;
    rush.screen = PACKET_ID.test(found[1]) ? "ready" : "no_packet";
    if (rush.screen === "ready") await this.look(rush);
    page.render();
  }

  // Somebody follows a link in a tab that has the page already, or goes back from there.
  async follow() {
    const { rounds, view } = this.page;
    if (!view.location.hash && rounds.rush?.round.kind === "group" && rounds.told) rounds.choose(rounds.told.round);
    await this.enter();
    this.page.render();
  }

  // The person goes to the event from it: a reload stays there.
  leave() {
    const { location, history } = this.page.view;
    if (LINK.test(location.hash)) history.replaceState(history.state, "", location.pathname + location.search);
  }

  // What a packet is, and whether there is one: a link may be cut short, or older than the book of packets.
  async look(rush, looks = 1) {
    const { page } = this;
    if (rush.decided || rush.busy) return; // a claim tells the same
    let told = null;
    try {
      told = await page.tell(`/packets/${rush.round.packet}`, "GET");
    } catch (fault) {
      if (!(fault instanceof Unreached)) throw fault;
    }
    const isGone = told?.status === 404 && told.ours;
    const isTold = told?.status < 300;
    if (isTold) rush.packet = told.body;
    if (rush.decided) return; // by a claim, meanwhile
    if ((isGone || isTold) && page.hint === "unreached") page.hint = "";
    if (isGone) rush.show("no_packet");
    else if (!isTold) {
      page.hintAt("unreached");
      const pause = LOOK_AGAIN_MS * 2 ** (looks - 1) * (1 + page.draw() / 2);
      if (looks < LOOKS_MAX) page.alarms.after(`look ${rush.round.id}`, pause, () => this.look(rush, looks + 1));
    } else if (rush.packet.grant) rush.has(rush.packet.grant, true);
    else if (["empty", "closed"].includes(rush.packet.state)) rush.show(rush.packet.state);
  }
}

// Digits and the point as a Chinese keyboard may write them.
const plain = (text) => text.normalize("NFKC").replace("。", ".");
