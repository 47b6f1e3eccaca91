// What each state looks like, in words: from where a person is in a round to what the view shows.

const COIN = new Set(["before", "ready", "asking", "again", "given_up", "sealed"]);
const PRESSABLE = new Set(["ready", "again", "given_up", "sealed"]);
const MARKS = { given_up: "again" };

export function modelOf(page, rush) {
  const { speech } = page;
  const screen = screenOf(page, rush);
  const model = { screen, headline: speech.say(screen), line: speech.say(`${screen}_line`), actions: [], small: "" };
  if (COIN.has(screen)) {
    const mark = MARKS[screen] || screen;
    model.coin = { text: speech.say(`coin_${mark}`), label: speech.say(`go_${mark}`), idle: !PRESSABLE.has(screen) };
  }
  (SCREENS[screen] || (() => {}))(model, page, rush);
  if (page.percent !== null) model.small = speech.say("proving", { percent: page.percent });
  if (page.hint) model.small = page.hint;
  return model;
}

function screenOf(page, rush) {
  if (rush && ["won", "sealed"].includes(rush.screen)) return rush.screen;
  if (!page.ticket) return "nobody";
  if (page.expired) return "expired";
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
    model.headline = speech.say("opens_at", { when: speech.when(round.opens) });
    model.small = speech.say("by_server_time");
    model.actions.push({ name: "auto", kind: "switch", checked: rush.auto, text: speech.say("auto"), act: () => page.setAuto(!page.auto) });
    shakes(model, page);
    model.actions.push({ name: "remind", text: speech.say("remind"), act: () => page.remind() });
  },

  ready(model, page, rush) {
    if (page.shakes === "on") model.line = page.speech.say("ready_shake");
    model.small = leftOver(page, rush);
    shakes(model, page);
  },

  asking(model, page) {
    model.headline = policyText(page, "asking") || model.headline;
  },

  again(model, page, rush) {
    model.headline = page.speech.say("missed");
    model.line = page.speech.say(rush.auto ? "missed_auto" : "missed_tap");
    model.small = leftOver(page, rush);
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
    model.actions.push({ name: "open", kind: "main", text: page.speech.say("go_sealed"), act: () => page.unseal(rush) });
  },

  won(model, page, rush) {
    const { speech } = page;
    const { grant } = rush;
    const [sign, amount] = grant.amount ? speech.parts(grant.amount, grant.currency) : ["", ""];
    model.slip = { greeting: page.config.page.greeting?.[speech.language] || speech.say("greeting"), sign, amount, note: page.title };
    model.small = `${speech.say("receipt")} ${grant.id}`;
    model.actions.push({ name: "share", kind: "main", text: speech.say("share"), act: () => page.share() });
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
  if (!login) {
    model.line = page.speech.say(`${model.screen}_line_no_login`);
    return;
  }
  model.actions.push({ name: "login", kind: "main", text: page.speech.say("login"), href: login });
}

function shakes(model, page) {
  const { speech, shakes: state } = page;
  if (state === "on") model.actions.push({ name: "shake", text: speech.say("shake_off"), act: () => page.stopShakes() });
  else if (state === "") {
    if (page.view.DeviceMotionEvent && page.view.matchMedia("(pointer: coarse)").matches) {
      model.actions.push({ name: "shake", text: speech.say("try_shake"), act: () => page.tryShakes() });
    }
  } else model.small = speech.say(`shake_${state}`);
}

function next(model, page) {
  const { speech } = page;
  const coming = page.rounds.filter(({ id }) => page.opensIn(id) > 0 && page.opensIn(id) < Infinity);
  coming.sort((one, other) => one.opens - other.opens);
  if (!coming.length) return;
  const text = speech.say("next", { when: speech.when(coming[0].opens) });
  model.actions.push({ name: "next", text, act: () => page.choose(coming[0].id) });
}

const leftOver = (page, rush) => (rush.round.left ? page.speech.say(`left_${rush.round.left}`) : "");

const policyText = (page, name) => (page.config.policy.texts[page.speech.language] || page.config.policy.texts.en)?.[name];
