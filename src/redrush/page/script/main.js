// The page: puts its parts together, follows the event, and says what there is to see.
import { Gates } from "./policy.js";
import { Leaps, ServerClock } from "./clock.js";
import { Alarms } from "./alarms.js";
import { Net } from "./net.js";
import { Memory, readTicket, ticketAtTheDoor } from "./memory.js";
import { Speech } from "./words.js";
import { View } from "./view.js";
import { Follower, nextLook } from "./state.js";
import { Tabs } from "./tabs.js";
import { Rush } from "./rush.js";
import { Line } from "./line.js";
import { Unreached } from "./net.js";
import { modelOf } from "./screens.js";
import { rulesOf } from "./rules.js";
import { calendarFile } from "./calendar.js";
import { listenToShakes } from "./shake.js";
import { prove } from "./proof.js";
import { sendPacket } from "./sending.js";

const AHEAD_MS = 60000;
const MILESTONES_MS = [600000, 60000, 10000];
const UNSURE_MS = 3000;
const GRANTS_AFTER_MS = 10000;

class Page {
  constructor(view, config) {
    this.view = view;
    this.config = config;
    this.memory = new Memory(config.id, safeStorage(view));
    this.net = new Net(view);
    this.clock = new ServerClock();
    this.leaps = new Leaps(Date.now(), view.performance.now());
    this.alarms = new Alarms(view);
    this.screen = new View(view.document);
    this.draw = Math.random;
    this.jitter = this.draw();
    this.gates = new Gates(config.gates.length, this.draw);
    this.bases = config.gates.map((gate) => `${gate}/v1/campaigns/${config.id}`);
    this.rounds = config.rounds.map((round) => ({ ...round }));
    this.rushes = new Map();
    this.lines = new Map();
    this.chosen = null;
    this.told = null;
    this.shakes = "";
    this.percent = null;
    this.grantsAsked = false;
    const found = ticketAtTheDoor(view.location, view.history, view.document.cookie);
    if (found) this.memory.set("ticket", found);
    this.tabs = new Tabs(`redrush ${config.id}`, view, () => this.render());
    this.follower = new Follower({
      url: `${config.state}/state/${config.id}.json`,
      net: this.net,
      clock: this.clock,
      view,
      told: (state) => this.hear(state),
      failed: () => this.render(),
    });
    this.speak(this.memory.get("language") || config.page.language || languageOf(view.navigator));
  }

  start() {
    const { view } = this;
    const { language, go } = this.screen.element;
    language.addEventListener("click", () => {
      this.memory.set("language", this.speech.language === "zh" ? "en" : "zh");
      this.speak(this.memory.get("language"));
      this.render();
    });
    go.addEventListener("click", () => this.press());
    view.document.addEventListener("keydown", (event) => {
      const idle = event.target === view.document.body || event.target === this.screen.element.main;
      if (event.key === " " && idle && !event.repeat) {
        event.preventDefault();
        this.press();
      }
    });
    view.document.addEventListener("visibilitychange", () => view.document.visibilityState === "visible" && this.wake());
    view.addEventListener("pageshow", (event) => event.persisted && this.wake());
    view.addEventListener("pagehide", () => this.net.abort());
    view.addEventListener("online", () => this.wake());
    view.addEventListener("offline", () => this.render());
    view.addEventListener("focus", () => this.wake());
    view.addEventListener("storage", (event) => this.memory.concerns(event) && this.recall());
    view.addEventListener("hashchange", () => {
      const ticket = ticketAtTheDoor(view.location, view.history, "");
      if (ticket) this.memory.set("ticket", ticket);
      if (ticket) view.location.reload();
    });
    this.tabs.lead(view.document.visibilityState === "visible");
    this.recall();
    this.render();
    this.tick();
    afterPaint(view, () => this.follower.settle().then(() => this.lookLater()));
  }

  speak(language) {
    const { config } = this;
    this.speech = new Speech(language, config.page.texts, config.zone, config.currency);
    const { document } = this.view;
    document.documentElement.lang = language;
    this.title = config.page.title?.[language] || config.name;
    document.title = this.title;
    this.screen.text("title", this.title);
    this.screen.text("language", this.speech.say("language"));
    this.screen.element.language.lang = language === "zh" ? "en" : "zh";
    this.screen.text("skip", this.speech.say("skip"));
    this.screen.rules(this.speech.say("rules"), rulesOf(config, this.speech));
    this.offerPackets();
  }

  // Where people may send packets to each other, and whoever is here is somebody.
  offerPackets() {
    const { group } = this.config;
    if (!group || !this.ticket) return;
    const say = (name) => this.speech.say(name);
    const kinds = group.kinds.map((kind) => [kind, say(kind === "equal" ? "send_equal" : "send_lucky")]);
    const fields = [
      ["total", say("send_total"), "decimal"],
      ["count", say("send_count"), "numeric"],
      ["kind", say("send_kind"), kinds],
      ["greeting", say("send_greeting"), "text"],
      ["word", say("send_word"), "text"],
    ];
    this.screen.form(say("send"), fields, say("send_go"), (wish) => this.send(wish));
  }

  async send(wish) {
    if (this.sending) return;
    this.sending = true;
    const { view } = this;
    this.screen.text("send_said", this.speech.say("send_busy"));
    const done = await sendPacket({ net: this.net, base: this.bases[this.gates.at], ticket: this.ticket, view, wish });
    this.sending = false;
    const link = `${view.location.href.split("#")[0]}#packet=${done.id}`;
    this.screen.text("send_said", this.speech.say(done.outcome, { why: done.why, link }));
    if (done.id) await this.share(link, "passed_on");
  }

  // -- who

  get ticket() {
    return this.memory.get("ticket");
  }

  get who() {
    return readTicket(this.ticket);
  }

  get expired() {
    return this.who !== null && this.clock.known && this.who.expires * 1000 <= this.now;
  }

  get now() {
    return this.clock.now(this.view.performance.now());
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

  // -- the event

  hear(state) {
    for (const told of state.rounds || []) this.hearRound(told);
    this.told = state;
    const current = state.round;
    if (!this.chosen) this.chosen = current;
    const rush = this.rushes.get(this.chosen);
    // What is coming goes before what is over, unless somebody is looking at what they have just won.
    if (rush?.round.packet) return this.after();
    if (current !== this.chosen && (!rush || (rush.decided && this.opensIn(current) < AHEAD_MS && rush.screen !== "sealed"))) {
      this.chosen = current;
    }
    this.enter(this.chosen);
    this.after();
  }

  after() {
    this.enterPacket();
    this.askForGrants();
    this.render();
  }

  hearRound(told) {
    let round = this.rounds.find(({ id }) => id === told.round);
    if (!round) {
      round = { id: told.round, opens: told.opens, closes: told.closes };
      this.rounds.push(round);
    }
    const moved = round.opens !== told.opens && told.phase === "before";
    const was = round.opens;
    Object.assign(round, { phase: told.phase, left: told.left, closes: told.closes, serving: told.serving });
    const rush = this.rushes.get(round.id);
    if (rush) {
      rush.key = told.key;
      rush.advised = told.interval_ms;
      if (told.phase === "closed" && ["ready", "before", "again"].includes(rush.screen) && !rush.busy) rush.show("closed");
      if (told.phase === "open" && told.left === "none" && rush.screen === "ready") rush.show("empty");
    }
    this.lines.get(round.id)?.serving(told.serving ?? -1);
    if (was !== told.opens) {
      round.opens = told.opens;
      rush?.moved(told.opens);
      if (moved && rush) this.screen.announce(this.speech.say("moved", { when: this.speech.when(told.opens) }));
    }
  }

  opensIn(id) {
    const round = this.rounds.find((one) => one.id === id);
    return round && this.clock.known ? round.opens - this.now : Infinity;
  }

  // Take part in a round, as far as that can be by now.
  enter(id) {
    const round = this.rounds.find((one) => one.id === id);
    if (!round || this.rushes.has(id) || !this.clock.known) return;
    const rush = new Rush(round, this.config.policy, this.house());
    this.rushes.set(id, rush);
    const told = this.told?.rounds?.find((one) => one.round === id);
    rush.key = told?.key ?? null;
    rush.auto = this.auto;
    rush.play = this.memory.get(`play:${this.who?.user}:${id}`) ?? 1;
    const wins = Object.values(this.wins).filter(({ grant }) => grant.round === id);
    const won = wins[wins.length - 1];
    if (won && (round.kind !== "draw" || !won.opened)) {
      rush.has(won.grant, won.opened);
      return;
    }
    if (!this.ticket) return;
    if (this.expired) rush.show("expired");
    else if (round.phase === "closed") rush.show("closed");
    else {
      if (this.config.pow && !this.who.proven) this.prove();
      if (round.line) this.lineUp(rush);
      rush.begin();
    }
  }

  lineOf(rush) {
    return this.lines.get(rush.round.id);
  }

  lineUp(rush) {
    const name = `pass:${this.who.user}:${rush.round.id}`;
    const line = this.lines.get(rush.round.id) || new Line(rush, rush.house, this.memory.get(name), (pass) => this.memory.set(name, pass));
    this.lines.set(rush.round.id, line);
    line.begin();
  }

  house() {
    return {
      net: this.net,
      alarms: this.alarms,
      clock: this.clock,
      gates: this.gates,
      bases: this.bases,
      view: this.view,
      draw: this.draw,
      ticket: () => this.ticket,
      expired: () => this.expired,
      leads: () => this.tabs.leads,
      look: () => this.follower.look(),
      prove: () => this.prove(),
      lineUp: (rush) => this.lineUp(rush),
      played: (rush) => this.memory.set(`play:${this.who.user}:${rush.round.id}`, rush.play),
      changed: (rush) => this.changed(rush),
      won: (rush, grant, repeat) => this.won(rush, grant, repeat),
    };
  }

  changed(rush) {
    if (rush.round.id !== this.chosen) return;
    const model = this.render();
    if (rush.screen !== "before" && rush.screen !== "won") this.screen.announce(`${model.headline} ${model.line}`);
  }

  won(rush, grant, repeat) {
    // What was won before is shown as it is; what is new is opened by its person.
    this.keep(grant, repeat && !grant.open);
    rush.has(this.wins[grant.id].grant, this.wins[grant.id].opened);
  }

  // What is known on this device, or was found out by another tab.
  recall() {
    for (const { grant, opened } of Object.values(this.wins)) {
      const rush = this.rushes.get(grant.round);
      if (rush && !["sealed", "won"].includes(rush.screen)) rush.has(grant, opened);
      else if (rush && opened && rush.screen === "sealed") rush.show("won");
    }
    this.render();
  }

  // What this person has won elsewhere, or before: asked once, and not in the rush of an opening.
  async askForGrants() {
    const began = this.rounds.some((round) => round.opens + GRANTS_AFTER_MS < this.now);
    const held = Object.values(this.wins).some(({ grant }) => grant.hold);
    if ((this.grantsAsked && !held) || !began || !this.ticket || this.expired) return;
    this.grantsAsked = true;
    try {
      const { status, body } = await this.net.ask(`${this.bases[this.gates.at]}/grants`, { ticket: this.ticket });
      if (status !== 200) return;
      const grants = body.grants || [];
      for (const held of Object.values(this.wins).filter(({ grant }) => grant.hold)) {
        const now = grants.find(({ id }) => id === held.grant.id);
        if (!now?.hold) this.drop(held.grant.id); // it is paid for, and a grant like any other below; or it is gone
      }
      for (const grant of grants) if (!this.wins[grant.id]) this.keep(grant, !grant.open);
      this.recall();
    } catch {
      // the next visit asks again; what is known here is shown
    }
  }

  // -- what the person does

  get auto() {
    return this.memory.get("auto") ?? !this.rounds.some((round) => round.shake);
  }

  press() {
    const rush = this.rushes.get(this.chosen);
    if (!rush) return;
    this.tabs.lead(true);
    this.hint = "";
    rush.word = this.screen.written("word");
    if (rush.screen === "sealed") this.unseal(rush);
    else if (rush.screen === "before") {
      this.screen.announce(this.speech.say("before_pressed", { time: this.speech.span(rush.opensIn) }));
    } else rush.go();
  }

  async unseal(rush) {
    if (rush.grant.open && !rush.grant.amount) {
      const opened = await this.order(rush, `/grants/${rush.grant.id}/open`);
      if (!opened?.grant) return;
      rush.grant = { ...rush.grant, ...opened.grant };
    }
    this.keep(rush.grant, true);
    this.screen.celebrate();
    rush.show("won");
    const { grant } = rush;
    const told = grant.amount ? this.speech.money(grant.amount, grant.currency) : grant.prize_name || "";
    this.screen.announce(`${this.speech.say("won")} ${told}`);
    this.screen.element.main.focus({ preventScroll: true });
  }

  // Something that is done with what was won; returns the answer, or null and says that it could not be.
  async order(rush, path, method = "POST") {
    try {
      const answer = await this.net.ask(`${this.bases[this.gates.at]}${path}`, { method, ticket: this.ticket });
      if (answer.status < 300) return answer.body;
    } catch (fault) {
      if (!(fault instanceof Unreached)) throw fault;
    }
    this.hint = this.speech.say("unreached");
    this.render();
    return null;
  }

  playAgain(rush) {
    this.hint = "";
    rush.playAgain();
  }

  // A packet for friends, paid by the sponsor: its link, to be sent to them.
  async passOn(rush) {
    const packet = await this.order(rush, `/grants/${rush.grant.id}/share`);
    if (packet) await this.share(`${this.view.location.href.split("#")[0]}#packet=${packet.id}`, "passed_on");
  }

  async pay(rush) {
    rush.pay = { said: "pay_wait" };
    this.render();
    const told = await this.order(rush, `/holds/${rush.grant.id}/pay`);
    if (!told) rush.pay = { said: "pay_failed" };
    else if (told.pay) {
      const { payload } = told.pay;
      rush.pay = /^https?:\/\//.test(payload) ? { url: payload } : { code: payload };
    }
    this.render();
  }

  async giveBack(rush) {
    if ((await this.order(rush, `/holds/${rush.grant.id}`, "DELETE")) === null) return;
    this.letGo(rush);
    this.screen.announce(this.speech.say("given_back"));
    this.hint = this.speech.say("given_back");
    this.render();
  }

  // It is held no longer, as far as is known here; asking again tells.
  letGo(rush) {
    this.drop(rush.grant.id);
    rush.grant = null;
    rush.screen = "ready";
    this.render();
  }

  // A packet between people that somebody has sent the link of: "#packet=…".
  async enterPacket() {
    const found = /(?:^#|&)packet=([0-9a-f]{32})(?:&|$)/.exec(this.view.location.hash);
    const id = found ? `packet-${found[1]}` : null;
    if (!id || this.rushes.has(id) || !this.ticket || this.expired) return;
    const round = { id, kind: "group", packet: found[1], opens: 0, closes: Infinity, name: this.speech.say("packet_from", { name: "…" }) };
    const rush = new Rush(round, this.config.policy, this.house());
    this.rushes.set(id, rush);
    this.chosen = id;
    rush.startAt = 0;
    rush.screen = "ready";
    rush.packet = await this.order(rush, `/packets/${found[1]}`, "GET");
    if (rush.packet?.grant) rush.has(rush.packet.grant, true);
    else if (rush.packet && ["empty", "closed"].includes(rush.packet.state)) rush.show(rush.packet.state);
    this.render();
  }

  setAuto(wanted) {
    this.memory.set("auto", wanted);
    for (const rush of this.rushes.values()) rush.auto = wanted;
    this.render();
  }

  // Called in the tap itself: leave to feel motion is given then or never.
  tryShakes() {
    if (this.hearing) {
      this.shakes = "on";
      this.render();
      return;
    }
    const asked = listenToShakes(this.view, this.config.policy.interval_ms, () => this.shaken());
    asked.then((found) => {
      this.shakes = found;
      this.hearing = found === "on";
      this.screen.announce(this.speech.say(`shake_${found}`));
      this.render();
    });
  }

  stopShakes() {
    this.shakes = "";
    this.render();
  }

  shaken() {
    if (this.shakes !== "on") return;
    const rush = this.rushes.get(this.chosen);
    if (!rush) return;
    if (rush.screen === "before") this.screen.announce(this.speech.say("shake_felt"));
    else this.press();
  }

  remind() {
    const round = this.rounds.find(({ id }) => id === this.chosen);
    const { view } = this;
    if (/MicroMessenger/i.test(view.navigator.userAgent)) {
      this.screen.announce(this.speech.say("remind_wechat"));
      this.hint = this.speech.say("remind_wechat");
      this.render();
      return;
    }
    const text = calendarFile({
      uid: `${this.config.id}-${round.id}@redrush`,
      name: this.title,
      url: view.location.href.split("#")[0],
      opens: round.opens,
      closes: round.closes,
      now: this.now,
    });
    const url = view.URL.createObjectURL(new view.Blob([text], { type: "text/calendar" }));
    const link = this.screen.make("a", { href: url, download: `${this.config.id}.ics` });
    link.click();
    view.setTimeout(() => view.URL.revokeObjectURL(url), 10000);
  }

  async share(url = this.view.location.href.split("#")[0], copied = "copied") {
    const text = this.speech.say("share_text", { name: this.title });
    try {
      if (this.view.navigator.share) await this.view.navigator.share({ title: this.title, text, url });
      else {
        await this.view.navigator.clipboard.writeText(`${text} ${url}`);
        this.screen.announce(this.speech.say(copied));
        this.hint = this.speech.say(copied);
        this.render();
      }
    } catch {
      // the person has thought better of it
    }
  }

  prove() {
    this.proving ??= prove({
      net: this.net,
      base: this.bases[this.gates.at],
      ticket: this.ticket,
      view: this.view,
      progress: (percent) => {
        this.percent = percent;
        this.render();
      },
    })
      .then((ticket) => {
        if (ticket) this.memory.set("ticket", ticket);
        return Boolean(ticket);
      })
      .finally(() => {
        this.percent = this.proving = null;
        this.render();
      });
    return this.proving;
  }

  // -- time

  // Back from sleep, from the page cache, from another app: nothing opens before the time is known again.
  wake() {
    this.tabs.lead(true);
    for (const rush of this.rushes.values()) rush.unsure = true;
    const sure = () => {
      for (const rush of this.rushes.values()) rush.unsure = false;
      this.alarms.check();
      this.render();
    };
    this.alarms.after("sure", UNSURE_MS, sure);
    this.follower.settle().finally(() => {
      this.alarms.clear("sure");
      sure();
      this.lookLater();
    });
    this.alarms.check();
    this.render();
  }

  lookLater() {
    const opensIn = this.rounds.map((round) => this.opensIn(round.id)).filter((ms) => ms > 0 && ms < Infinity);
    const rush = this.rushes.get(this.chosen);
    const pause = nextLook({
      opensIn: opensIn.length ? Math.min(...opensIn) : null,
      asking: rush !== undefined && !rush.decided && rush.screen !== "before",
      failures: this.follower.failures,
      draw: this.draw,
      window: this.config.policy.start_window_ms,
      jitter: this.jitter,
    });
    this.alarms.after("look", pause, () => this.follower.look().then(() => this.lookLater()));
  }

  // Every second, on its edge: the digits, from the deadline. Nothing is counted.
  tick() {
    const steady = this.view.performance.now();
    if (this.leaps.leapt(Date.now(), steady) && this.clock.known) this.wake();
    const rush = this.rushes.get(this.chosen);
    let edge = 1000;
    if (this.expired && this.view.document.body.dataset.screen === "before") this.render();
    if (this.waits(rush)) {
      const left = this.left(rush);
      edge = (((left % 1000) + 1000) % 1000) + 5;
      this.tellMilestone(left);
      if (rush.screen === "held" && left <= 0) this.letGo(rush);
      this.renderTimer(rush);
    } else if (rush && rush.screen === "waiting") this.render();
    this.view.setTimeout(() => this.tick(), edge);
  }

  waits(rush) {
    const counts = rush !== undefined && (rush.screen === "before" || (rush.screen === "held" && rush.grant.hold));
    return counts && this.clock.known && this.ticket !== null && !this.expired;
  }

  // Milliseconds to what somebody waits for: the opening, or the end of what is held for them.
  left(rush) {
    return rush.screen === "held" ? Date.parse(rush.grant.hold.expires_at) - this.now : rush.opensIn;
  }

  renderTimer(rush) {
    const left = this.waits(rush) ? this.left(rush) : 0;
    this.screen.timer(left > 0 ? this.speech.digits(left) : "");
  }

  tellMilestone(left) {
    const passed = MILESTONES_MS.filter((ms) => left <= ms).length;
    if (this.passed !== undefined && passed > this.passed) {
      this.screen.announce(this.speech.say("opens_in_words", { time: this.speech.span(left) }));
    }
    this.passed = passed;
  }

  // -- what is to be seen

  render() {
    const rush = this.rushes.get(this.chosen);
    const model = modelOf(this, rush);
    this.screen.show(model);
    this.renderTimer(rush);
    this.screen.text("offline", this.view.navigator.onLine === false ? this.speech.say("offline") : "");
    const entries = this.rounds.map((round) => [round.id, round.name || this.speech.when(round.opens, undefined, false)]);
    this.screen.rounds(this.speech.say("rounds"), entries, this.chosen, (id) => this.choose(id));
    this.renderWins();
    return model;
  }

  choose(id) {
    this.chosen = id;
    this.enter(id);
    this.render();
    this.view.scrollTo({ top: 0 });
  }

  renderWins() {
    const opened = Object.values(this.wins).filter((win) => win.opened);
    const key = JSON.stringify([opened, this.speech.language]);
    if (key === this.winsShown) return;
    this.winsShown = key;
    const digits = this.config.digits;
    const minor = opened.reduce((sum, { grant }) => sum + (grant.amount ? minorOf(grant.amount, digits) : 0n), 0n);
    const entries = opened.map(({ grant }) => [
      `${this.roundName(grant.round)} · ${this.speech.when(Date.parse(grant.granted_at))}`,
      grant.amount ? this.speech.money(grant.amount, grant.currency) : grant.prize_name || "",
      grant.code ? this.speech.say("code", { code: grant.code }) : `${this.speech.say("receipt")} ${grant.id}`,
    ]);
    const total = entries.length > 1 ? this.speech.say("mine_total", { amount: this.speech.money(textOf(minor, digits)) }) : "";
    this.screen.mine(this.speech.say("mine"), entries, total);
  }

  roundName(id) {
    return this.rounds.find((round) => round.id === id)?.name || this.speech.say("close_mine", { round: id });
  }
}

// The page is seen before anything is asked. A page in the background is never painted, and asks all the same.
function afterPaint(view, act) {
  let done = false;
  const once = () => {
    if (!done) act();
    done = true;
  };
  if (view.PerformanceObserver?.supportedEntryTypes?.includes("paint")) {
    new view.PerformanceObserver((list, observer) => {
      if (!list.getEntriesByName("first-contentful-paint").length) return;
      observer.disconnect();
      once();
    }).observe({ type: "paint", buffered: true });
  } else view.requestAnimationFrame(() => view.setTimeout(once, 0));
  view.setTimeout(once, view.document.hidden ? 500 : 2000);
}

const minorOf = (amount, digits) => {
  const [whole, places = ""] = amount.split(".");
  return BigInt(whole + places.padEnd(digits, "0"));
};

const textOf = (minor, digits) => {
  const text = String(minor).padStart(digits + 1, "0");
  return digits ? `${text.slice(0, -digits)}.${text.slice(-digits)}` : text;
};

const languageOf = (navigator) => ((navigator.language || "zh").toLowerCase().startsWith("zh") ? "zh" : "en");

function safeStorage(view) {
  try {
    return view.localStorage;
  } catch {
    return { getItem: () => null, setItem: () => {} };
  }
}

new Page(window, JSON.parse(document.getElementById("redrush").textContent)).start();
