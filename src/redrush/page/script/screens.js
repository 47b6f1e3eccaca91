// Room: what each state looks like, in words: from where a person is in a round to what the view shows.

import { payAction, waysToPay } from "./till.js";

const COIN = new Set(["before", "ready", "asking", "again", "given_up", "sealed", "wrong_word"]);
const OWN = new Set(["won", "sealed", "held", "paying", "bought", "late", "refunded"]);
const PRESSABLE = new Set(["ready", "again", "given_up", "sealed", "wrong_word"]);
const LEAVES = new Set(["ready", "wrong_word", "given_up", "won", "empty", "closed", "not_eligible", "no_packet", "refused"]);
const PLENTY_OF = 20;
// Screens that say something else where a round is no rain of packets.
const OF_KIND = {
  sale: { empty: "sale_empty" },
  draw: { empty: "draw_empty", ready: "draw_ready", asking: "draw_asking" },
  group: { empty: "group_empty", closed: "group_closed" },
};
const MARKS = { given_up: "again", wrong_word: "again" };
const OPENS = { draw: "opens_at_draw" };
// The packet is closed, and what it is about stands on it.
const TAGGED = new Set(["before", "ready", "asking", "again", "given_up", "wrong_word", "inline", "waiting", "held", "paying", "held_out"]);

export function modelOf(page, rush) {
  const { speech } = page;
  const screen = screenOf(page, rush);
  const own = OF_KIND[rush?.round.kind]?.[screen] || screen;
  const [headline, line] = ["", "_line"].map((part) => speech.sayFirst(own + part, screen + part));
  const model = { screen, headline, line, actions: [], small: "" };
  if (COIN.has(screen)) {
    const mark = MARKS[screen] || screen;
    const [text, label] = ["coin_", "go_"].map((part) => speech.sayFirst(`${part}${mark}_${rush.round.kind}`, part + mark));
    model.coin = { text, label, idle: !PRESSABLE.has(screen) };
  }
  if (TAGGED.has(screen)) model.tag = tagOf(page, rush);
  (SCREENS[screen] || (() => {}))(model, page, rush);
  if (rush?.round.kind === "group" && LEAVES.has(screen)) event(model, page);
  if (page.percent !== null) model.small = speech.say("proving", { percent: page.percent });
  if (page.hint) model.small = speech.say(page.hint);
  return model;
}

function screenOf(page, rush) {
  if (rush && OWN.has(rush.screen)) return rush.screen;
  if (!page.person.ticket) return "nobody";
  if (page.person.expired) return "expired";
  if (!rush) return page.follower.failures ? "unreached" : "loading";
  return rush.screen;
}

const SCREENS = {
  nobody: askToLogIn,
  expired: askToLogIn,

  before(model, page, rush) {
    const { speech } = page;
    const { round } = rush;
    model.line = speech.say(round.shake && !rush.auto ? "before_shake" : rush.auto ? "before_auto" : "before_tap");
    model.headline = speech.say(OPENS[round.kind] || "opens_at", { when: speech.when(round.opens) });
    model.small = speech.say("by_server_time");
    if (round.line) model.line = speech.say(lineOpens(page, round) > 0 ? "line_opens" : "inline_line", { when: speech.when(round.opens - round.line.opens_before_ms) });
    if ((round.kind ?? "packets") === "packets") model.actions.push({ name: "auto", kind: "switch", checked: rush.auto, text: speech.say("auto"), act: () => { page.auto = !page.auto; } });
    if (round.kind !== "sale") shakes(model, page);
    model.actions.push({ name: "remind", text: speech.say("remind"), act: () => page.outside.remind() });
  },

  ready(model, page, rush) {
    if (page.motion.state === "on") model.line = page.speech.say("ready_shake");
    model.small = leftOver(page, rush);
    if (rush.round.kind === "draw") tries(model, page, rush);
    if (rush.round.kind === "group") packet(model, page, rush);
    else if (rush.round.kind !== "sale") shakes(model, page);
    else model.line = page.speech.say("ready_sale", { name: rush.round.name || page.title, amount: priceOf(page, rush) });
  },

  wrong_word: packet,

  inline(model, page, rush) {
    const { speech } = page;
    const told = page.rounds.lineOf(rush)?.told || {};
    if (told.paused) model.line = speech.say("inline_paused");
    else if (told.serving >= told.place && rush.opensIn <= 0) model.line = speech.say("inline_turn");
    else if (told.ahead !== undefined && told.wait_s) {
      const [from, to] = told.wait_s.map((seconds) => speech.span(seconds * 1000));
      model.line = speech.say("inline_ahead", { count: speech.number(told.ahead), from, to });
    } else if (rush.round.line?.order === "random" && rush.opensIn > 0) model.line = speech.say("inline_drawn");
    if (model.line !== speech.say("inline_line")) model.small = speech.say("inline_line");
    else if (rush.opensIn > 0) model.small = speech.say("opens_at", { when: speech.when(rush.round.opens) });
  },

  played(model, page, rush) {
    if (rush.nextAt) model.line = page.speech.say("played_next", { when: page.speech.when(rush.nextAt) });
    next(model, page);
  },

  held(model, page, rush) {
    const { speech } = page;
    const { grant, paying } = rush;
    if (rush.round.shop) model.actions.push({ name: "address", kind: "input", text: speech.say("address"), act: () => page.till.pay(rush) });
    model.actions.push({ name: "pay", kind: "main", text: speech.say("pay", { amount: priceOf(page, rush) }), act: () => page.till.pay(rush) });
    model.small = paying ? speech.say(paying.said) : `${speech.say("receipt")} ${grant.id}`;
    model.actions.push({ name: "give_back", text: speech.say("give_back"), act: () => page.till.giveBack(rush) });
  },

  paying(model, page, rush) {
    const { speech } = page;
    const { order, paying } = rush;
    const pay = order.pay && waysToPay(order.pay, page.view);
    if (order.state !== "paying") model.line = speech.say("paying_ends");
    else {
      const open = pay && payAction("pay_open", speech.say("pay_open"), pay, page.view);
      if (open) model.actions.push(open);
      else if (!pay) model.actions.push({ name: "pay", kind: "main", text: speech.say("pay", { amount: priceOf(page, rush) }), act: () => page.till.pay(rush) });
      if (pay?.qr) model.qr = { text: pay.qr, label: speech.say("qr_pay") };
      model.actions.push({ name: "give_back", text: speech.say("give_back"), act: () => page.till.giveBack(rush) });
    }
    if (paying) model.small = speech.say(paying.said);
    else model.small = pay?.code && order.state === "paying" ? speech.say("pay_code", { code: pay.code }) : `${speech.say("receipt")} ${order.grant}`;
  },

  bought(model, page, rush) {
    const { speech } = page;
    const { grant, order } = rush;
    const greeting = page.config.page.greeting?.[speech.language] || speech.say("greeting");
    model.slip = { greeting, sign: "", amount: page.winnings.worth(grant), note: page.title };
    model.small = `${speech.say("receipt")} ${grant.id}`;
    if (order?.state === "delivered") model.line = speech.say("bought_shop");
    next(model, page);
  },

  refunded(model, page, rush) {
    if (["recalling", "refunding"].includes(rush.order?.state)) {
      model.headline = page.speech.say("refunding");
      model.line = page.speech.say("refunding_line");
    }
    next(model, page);
  },

  held_out(model, page, rush) {
    const when = page.speech.time(rush.nextAt);
    model.line = page.speech.say("held_out_line", { when });
  },

  limit: next,
  line_closed: next,

  asking(model, page, rush) {
    if (rush.round.kind !== "draw") model.headline = policyText(page, "asking") || model.headline;
  },

  again(model, page, rush) {
    model.headline = page.speech.say(rush.round.kind === "draw" ? "draw_missed" : "missed");
    model.line = page.speech.say(rush.auto ? "missed_auto" : "missed_tap");
    model.small = leftOver(page, rush);
    if (rush.round.kind === "draw") tries(model, page, rush);
    shakes(model, page);
  },

  waiting(model, page, rush) {
    const seconds = rush.until === null ? 1 : Math.max(1, Math.ceil((rush.until - rush.now) / 1000));
    model.line = (policyText(page, "waiting") || "").replace("{seconds}", String(seconds));
  },

  given_up(model, page) {
    model.line = policyText(page, "given_up");
  },

  sealed(model, page, rush) {
    model.actions.push({ name: "open", kind: "main", text: page.speech.say("go_sealed"), act: () => page.winnings.open(rush) });
  },

  won(model, page, rush) {
    const { speech } = page;
    const { grant } = rush;
    const [sign, amount] = grant.amount ? speech.parts(grant.amount, grant.currency) : ["", page.winnings.worth(grant)];
    const greeting = page.config.page.greeting?.[speech.language] || speech.say("greeting");
    model.slip = { greeting, sign, amount, note: grant.prize_name && grant.amount ? grant.prize_name : page.title };
    if (grant.prize) model.headline = speech.say("prize_won");
    model.small = grant.code ? speech.say("code", { code: grant.code }) : `${speech.say("receipt")} ${grant.id}`;
    if (rush.round.packet && rush.packet?.best_luck) {
      const { user, amount: most } = rush.packet.best_luck;
      model.line = speech.say("packet_luck", { name: user, amount: speech.money(most) });
    }
    if (rush.round.kind === "draw" && rush.playsLeft) {
      const text = speech.say("play_again", { n: rush.playsLeft });
      model.actions.push({ name: "play", kind: "main", text, act: () => page.playAgain(rush) });
    }
    if (rush.link) model.qr = { text: rush.link, label: speech.say("qr_link") };
    if (rush.round.share) model.actions.push({ name: "pass_on", kind: "main", text: speech.say("pass_on"), act: () => page.packets.passOn(rush) });
    model.actions.push({ name: "share", kind: "main", text: speech.say("share"), act: () => page.outside.share() });
    next(model, page);
  },

  empty(model, page) {
    model.slip = { greeting: page.config.page.greeting?.[page.speech.language] || page.speech.say("greeting") };
    next(model, page);
  },
  closed: next,
  not_eligible: next,
};

function askToLogIn(model, page) {
  const { login } = page.config.page;
  if (page.person.cut) model.line = page.speech.say("link_cut");
  else if (!login) model.line = page.speech.say(`${model.screen}_line_no_login`);
  if (!login) return;
  const href = login.replace("{page}", encodeURIComponent(page.outside.home));
  model.actions.push({ name: "login", kind: "main", text: page.speech.say("login"), href, act: () => page.person.leaves() });
}

function tries(model, page, rush) {
  model.line = page.speech.say("draw_line");
  if (rush.playsLeft !== null) model.small = page.speech.say("draw_left", { n: rush.playsLeft });
}

// From somebody's packet to the event that it was sent at.
function event(model, page) {
  const current = page.rounds.told?.round;
  if (!current) return;
  model.actions.push({ name: "event", text: page.speech.say("to_event"), act: () => page.rounds.choose(current) });
}

function packet(model, page, rush) {
  const { speech } = page;
  const told = rush.packet;
  if (told && model.screen === "ready") {
    model.headline = speech.say("packet_from", { name: told.from });
    if (told.needs_word) model.line = speech.say("packet_word");
  }
  if (!told?.needs_word) return;
  model.actions.push({ name: "word", kind: "input", text: speech.say("say_word"), act: () => page.press() });
  model.actions.push({ name: "say_it", kind: "main", text: speech.say("go_ready"), act: () => page.press() });
}

// What stands on a closed packet: what there is to be had, or the place of whoever waits for it.
function tagOf(page, rush) {
  const { speech } = page;
  const { round } = rush;
  const told = rush.screen === "inline" && page.rounds.lineOf(rush)?.told;
  if (told && told.ahead !== undefined) {
    return { small: speech.say("tag_ahead"), big: speech.say("tag_people", { count: speech.number(told.ahead) }) };
  }
  if (round.kind === "group") return rush.packet?.greeting ? { small: page.rounds.nameOf(rush.packet), big: rush.packet.greeting } : null;
  if (round.kind === "sale") return { small: round.name || "", big: priceOf(page, rush) };
  if (round.kind === "draw") return { small: speech.say("tag_prize"), big: round.prizes[0].name };
  if (!round.packets) return null;
  return { small: speech.say("tag_packets", { count: speech.number(round.packets) }), big: speech.money(round.total) };
}

const lineOpens = (page, round) => page.rounds.opensIn(round.id) - round.line.opens_before_ms;

const priceOf = (page, rush) => (rush.round.price ? page.speech.money(rush.round.price) : "");

function shakes(model, page) {
  const { speech, motion } = page;
  const { state } = motion;
  if (state === "on") model.actions.push({ name: "shake", text: speech.say("shake_off"), act: () => motion.end() });
  else if (state === "") {
    if (page.view.DeviceMotionEvent && page.view.matchMedia("(pointer: coarse)").matches) {
      model.actions.push({ name: "shake", text: speech.say("try_shake"), act: () => motion.begin() });
    }
  } else model.small = speech.say(`shake_${state}`);
}

function next(model, page) {
  const { speech, rounds } = page;
  const { coming } = rounds;
  if (!coming.length) return;
  const text = speech.say("next", { when: speech.when(coming[0].opens) });
  model.actions.push({ name: "next", text, act: () => rounds.choose(coming[0].id) });
}

// Nobody calls half of a handful plenty.
function leftOver(page, { round }) {
  const slots = round.units ?? round.packets ?? round.prizes?.reduce((sum, { count }) => sum + count, 0) ?? Infinity;
  const left = round.left === "plenty" && slots < PLENTY_OF ? "some" : round.left;
  return left ? page.speech.say(`left_${left}`) : "";
}

const policyText = (page, name) => (page.config.policy.texts[page.speech.language] || page.config.policy.texts.en)?.[name];
