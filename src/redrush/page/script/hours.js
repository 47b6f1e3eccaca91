// Room: time. The digits, the milestones that are told, when to look at the event again, and waking up.
import { Leaps } from "./clock.js";
import { nextLook } from "./state.js";

const MILESTONES_MS = [600000, 60000, 10000];
const UNSURE_MS = 3000;
const HOLDS = new Set(["held", "paying"]);
const COUNTS = new Set(["before", "inline"]);

export class Hours {
  constructor(page) {
    this.page = page;
    this.leaps = new Leaps(Date.now(), page.view.performance.now());
    this.jitter = page.draw();
  }

  // Back from sleep, from the page cache, from another app: nothing opens before the time is known again.
  wake() {
    const { page } = this;
    const rushes = page.rounds.rushes;
    page.tabs.lead(true);
    for (const rush of rushes.values()) rush.unsure = true;
    const sure = () => {
      for (const rush of rushes.values()) rush.unsure = false;
      page.alarms.check();
      page.render();
    };
    page.alarms.after("sure", UNSURE_MS, sure);
    page.follower.settle().finally(() => {
      page.alarms.clear("sure");
      sure();
      this.lookLater();
    });
    page.alarms.check();
    page.render();
  }

  lookLater() {
    const { page } = this;
    const { rush, coming } = page.rounds;
    const pause = nextLook({
      opensIn: coming.length ? page.rounds.opensIn(coming[0].id) : null,
      asking: rush !== undefined && !rush.decided && rush.screen !== "before",
      failures: page.follower.failures,
      draw: page.draw,
      window: page.config.policy.start_window_ms,
      jitter: this.jitter,
    });
    page.alarms.after("look", pause, () => page.follower.look().then(() => this.lookLater()));
  }

  // Every second, on its edge: the digits, from the deadline. Nothing is counted.
  tick() {
    const { page } = this;
    const steady = page.view.performance.now();
    if (this.leaps.leapt(Date.now(), steady) && page.clock.known) this.wake();
    const { rush } = page.rounds;
    let edge = 1000;
    if (page.person.expired && page.view.document.body.dataset.screen === "before") page.render();
    if (this.waits(rush)) {
      const left = this.left(rush);
      edge = (((left % 1000) + 1000) % 1000) + 5;
      this.tellMilestone(left);
      if (rush.screen === "held" && left <= 0) page.till.ended(rush);
      this.show(rush);
    } else if (rush && rush.screen === "waiting") page.render();
    page.view.setTimeout(() => this.tick(), edge);
  }

  waits(rush) {
    const { clock, person } = this.page;
    const counts = rush !== undefined && (COUNTS.has(rush.screen) || (HOLDS.has(rush.screen) && rush.grant?.hold));
    return counts && clock.known && person.ticket !== null && !person.expired;
  }

  // Milliseconds to what somebody waits for: the opening, or the end of what is held for them.
  left(rush) {
    return HOLDS.has(rush.screen) ? Date.parse(rush.grant.hold.expires_at) - this.page.now : rush.opensIn;
  }

  show(rush) {
    const left = this.waits(rush) ? this.left(rush) : 0;
    this.page.screen.timer(left > 0 ? this.page.speech.digits(left) : "");
  }

  tellMilestone(left) {
    const { screen, speech } = this.page;
    const passed = MILESTONES_MS.filter((ms) => left <= ms).length;
    if (this.passed !== undefined && passed > this.passed) {
      screen.announce(speech.say("opens_in_words", { time: speech.span(left) }));
    }
    this.passed = passed;
  }
}
