// The page: puts its rooms together, hears the event and its person, and says what there is to see.
import { Alarms } from "./alarms.js";
import { ServerClock } from "./clock.js";
import { Hours } from "./hours.js";
import { Keeping } from "./keeping.js";
import { Memory } from "./memory.js";
import { Motion } from "./motion.js";
import { Net, Unreached } from "./net.js";
import { Outside } from "./outside.js";
import { Packets } from "./packets.js";
import { Person } from "./person.js";
import { Gates } from "./policy.js";
import { prove } from "./proof.js";
import { Renewal } from "./renewal.js";
import { Rounds } from "./rounds.js";
import { rulesOf } from "./rules.js";
import { modelOf } from "./screens.js";
import { Sounds } from "./sounds.js";
import { Follower } from "./state.js";
import { Tabs } from "./tabs.js";
import { Till } from "./till.js";
import { nextTurn } from "./turns.js";
import { View } from "./view.js";
import { Winnings } from "./winnings.js";
import { Speech } from "./words.js";

class Page {
  constructor(view, config) {
    this.view = view;
    this.config = config;
    this.draw = Math.random;
    this.percent = null;
    this.hint = ""; // the name of a text, so that it is told in the language that is spoken then
    this.memory = new Memory(config.id, safeStorage(view));
    this.net = new Net(view);
    this.clock = new ServerClock();
    this.alarms = new Alarms(view);
    this.screen = new View(view.document);
    this.gates = new Gates(config.gates.length, this.draw);
    this.bases = config.gates.map((gate) => `${gate}/v1/campaigns/${config.id}`);
    this.person = new Person(this.memory, view, () => (this.clock.known ? this.now : null));
    this.rounds = new Rounds(this);
    this.hours = new Hours(this);
    this.winnings = new Winnings(this);
    this.till = new Till(this);
    this.packets = new Packets(this);
    this.motion = new Motion(this);
    this.outside = new Outside(this);
    this.sounds = new Sounds(this);
    this.renewal = new Renewal(this);
    this.keeping = new Keeping(this);
    this.tabs = new Tabs(`redrush ${config.id}`, view, () => this.render());
    this.follower = new Follower({
      url: `${config.state}/state/${config.id}.json`,
      net: this.net,
      clock: this.clock,
      view,
      told: (state) => this.hear(state),
      failed: () => {
        if (!this.rounds.chosen) this.rounds.recall();
        this.render();
      },
    });
  }

  // In turns, so that a slow telephone is never kept busy for long.
  async start() {
    const { view, hours, config } = this;
    this.speak(this.memory.get("language") || config.page.language || languageOf(view.navigator));
    await nextTurn(view);
    this.listen();
    this.sounds.listen();
    this.tabs.lead(view.document.visibilityState === "visible");
    await nextTurn(view);
    if (this.person.cut && this.person.ticket) this.hint = "link_cut";
    this.winnings.recall();
    hours.tick();
    await nextTurn(view);
    afterPaint(view, () =>
      this.follower.settle().then(() => {
        hours.lookLater();
        this.keeping.later();
      }),
    );
  }

  listen() {
    const { view, hours } = this;
    const { document } = view;
    const { language, go, main, rules } = this.screen.element;
    language.addEventListener("click", () => {
      this.memory.set("language", this.speech.language === "zh" ? "en" : "zh");
      this.speak(this.memory.get("language"));
      this.render();
    });
    go.addEventListener("click", () => this.press());
    rules.addEventListener("click", () => this.showRules());
    rules.addEventListener("toggle", () => this.showRules());
    document.addEventListener("keydown", (event) => {
      const idle = event.target === document.body || event.target === main;
      if (event.key === " " && idle && !event.repeat) {
        event.preventDefault();
        this.press();
      }
    });
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && hours.wake());
    view.addEventListener("pageshow", (event) => event.persisted && hours.wake());
    view.addEventListener("pagehide", () => this.net.abort());
    view.addEventListener("online", () => hours.wake());
    view.addEventListener("offline", () => this.render());
    view.addEventListener("focus", () => hours.wake());
    view.addEventListener("hashchange", () => this.packets.follow());
    view.addEventListener("storage", (event) => this.memory.concerns(event) && this.winnings.recall());
  }

  speak(language) {
    const { config, screen } = this;
    this.speech = new Speech(language, config.page.texts, config);
    const { document } = this.view;
    document.documentElement.lang = language;
    this.title = config.page.title?.[language] || config.name;
    document.title = this.title;
    screen.text("title", this.title);
    screen.text("language", this.speech.say("language"));
    screen.element.language.lang = language === "zh" ? "en" : "zh";
    screen.text("skip", this.speech.say("skip"));
    this.sounds.show();
    screen.text("rules_title", this.speech.say("rules"));
    this.ruled = null;
    if (screen.element.rules.open) this.showRules();
    this.packets.offer();
  }

  // Made when somebody opens them: numbers and dates of them all would keep a slow telephone from what it is opened for.
  showRules() {
    if (this.ruled === this.speech) return;
    this.ruled = this.speech;
    this.screen.rules(rulesOf(this.config, this.speech));
  }

  // The server's time in ms; the clock has to be known.
  get now() {
    return this.clock.now(this.view.performance.now());
  }

  // Where the campaign's calls go now.
  get base() {
    return this.bases[this.gates.at];
  }

  hear(state) {
    this.packets.enter(); // before any round: whoever follows a friend's link takes part in nothing else unasked
    this.rounds.hear(state);
    this.winnings.ask();
    this.renewal.watch();
    this.render();
  }

  // There is a new ticket of the same person: what has stopped for the old one goes on.
  renewed() {
    if (this.config.pow && !this.person.who.proven) this.prove();
    this.rounds.goOn();
    this.renewal.watch();
    this.render();
  }

  // -- what the person does

  // Whether this person leaves the asking to the page.
  get auto() {
    return this.memory.get("auto") ?? !this.rounds.all.some((round) => round.shake);
  }

  set auto(wanted) {
    this.memory.set("auto", wanted);
    for (const rush of this.rounds.rushes.values()) rush.auto = wanted;
    this.render();
  }

  press() {
    const { rush } = this.rounds;
    if (!rush) return;
    this.tabs.lead(true);
    this.hint = "";
    rush.word = this.screen.written("word");
    if (rush.screen === "sealed") this.winnings.open(rush);
    else if (rush.screen === "before") {
      this.screen.announce(this.speech.say("before_pressed", { time: this.speech.span(rush.opensIn) }));
    } else rush.go();
  }

  playAgain(rush) {
    this.hint = "";
    rush.playAgain();
  }

  // Ask a gate as this person.
  async tell(path, method, body = null) {
    const { ticket } = this.person;
    const answer = await this.net.ask(`${this.base}${path}`, { method, ticket, body });
    if (answer.status === 401 && answer.ours && !answer.body.exchange) this.turnedAway(ticket);
    return answer;
  }

  // A gate knows nobody by this ticket: whoever looks is told so before they press.
  turnedAway(ticket) {
    this.person.refused = ticket;
    for (const rush of this.rounds.rushes.values()) if (!rush.decided) rush.show("expired");
    this.render();
  }

  // Something that is done with what was won; returns the answer, or null and says that it could not be.
  async order(path, method = "POST") {
    try {
      const answer = await this.tell(path, method);
      if (answer.status < 300) return answer.body;
    } catch (fault) {
      if (!(fault instanceof Unreached)) throw fault;
    }
    this.hint = "unreached";
    this.render();
    return null;
  }

  // What the organisers say to everybody, in this person's language if they have said it in that.
  showNotice() {
    const notice = this.rounds.told?.notice;
    const language = notice && [this.speech.language, "zh", "en"].find((one) => notice[one]);
    this.screen.text("notice", language ? notice[language] : "");
    this.screen.element.notice.lang = language || "";
    const heard = language ? notice.id : null;
    if (heard && heard !== this.noticed) this.screen.announce(notice[language]);
    this.noticed = heard;
  }

  // Say something beside what is shown, to whoever looks and to whoever listens.
  hintAt(name) {
    this.hint = name;
    this.screen.announce(this.speech.say(name));
    this.render();
  }

  prove() {
    const { net, base, person, view } = this;
    const progress = (percent) => {
      this.percent = percent;
      this.render();
    };
    this.proving ??= prove({ net, base, ticket: person.ticket, view, progress })
      .then((ticket) => {
        if (ticket) person.ticket = ticket;
        return Boolean(ticket);
      })
      .finally(() => {
        this.percent = this.proving = null;
        this.render();
      });
    return this.proving;
  }

  // -- what is to be seen

  render() {
    const { rounds, screen, speech } = this;
    const { rush } = rounds;
    const model = modelOf(this, rush);
    screen.show(model);
    this.hours.show(rush);
    this.showNotice();
    screen.text("offline", this.view.navigator.onLine === false ? speech.say("offline") : "");
    const several = rounds.all.length > 1 ? rounds.all : [];
    const entries = several.map((round) => [round.id, round.name || speech.when(round.opens, false)]);
    screen.rounds(speech.say("rounds"), entries, rounds.chosen, (id) => rounds.choose(id));
    this.winnings.show();
    return model;
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

const languageOf = (navigator) => ((navigator.language || "zh").toLowerCase().startsWith("zh") ? "zh" : "en");

function safeStorage(view) {
  try {
    return view.localStorage;
  } catch {
    return { getItem: () => null, setItem: () => {} };
  }
}

nextTurn(window)
  .then(() => new Page(window, JSON.parse(document.getElementById("redrush").textContent)))
  .then((page) => nextTurn(window).then(() => page.start()));
