// One person asking one round, from before the opening to what became of it. When to ask is decided by the client policy
// (policy.js); here is the asking. `screen` is what to show, and one of:
//   before ready asking again waiting given_up | sealed won empty closed not_eligible refused expired
import { Asking, GATE_DEADLINE_S, GATE_FAILED_STATUSES, RETRIED_STATUSES, isFinal } from "./policy.js";
import { Unreached, retryAfter } from "./net.js";

const LATE_MS = 1000;

export class Rush {
  // `house`: net, alarms, clock, gates, bases (URLs of gates), view, draw, ticket(), expired(), leads(), prove(), changed(rush), won(rush, grant)
  constructor(round, policy, house) {
    this.round = round;
    this.house = house;
    this.asking = new Asking(policy, house.draw);
    this.screen = "before";
    this.auto = false;
    this.key = null;
    this.unsure = false; // the clock may have leapt: nothing opens before it is known again
    this.until = null; // performance.now() of the next request, for whoever waits
    this.grant = null;
    this.advised = null;
    this.wanted = false;
    this.busy = false;
    this.startAt = null;
  }

  get now() {
    return this.house.view.performance.now();
  }

  // Milliseconds to the opening by the server's clock.
  get opensIn() {
    return this.round.opens - this.house.clock.now(this.now);
  }

  get decided() {
    return ["sealed", "won", "empty", "closed", "not_eligible", "refused", "expired"].includes(this.screen);
  }

  show(screen) {
    this.screen = screen;
    this.house.changed(this);
  }

  // The server's time is known: wait for the opening, or let the person in.
  begin() {
    const step = this.asking.begin(this.opensIn / 1000);
    this.startAt = this.house.clock.now(this.now) + step.pause * 1000;
    this.startJitter = this.startAt - this.round.opens;
    if (step.showing === "before") {
      this.show("before");
      this.house.alarms.set(`open ${this.round.id}`, () => (this.unsure ? 50 : this.opensIn), () => this.open());
    } else {
      this.startAt = 0;
      this.open();
    }
  }

  open() {
    if (this.decided || this.busy) return;
    if (this.auto || this.wanted) this.go();
    else this.show("ready");
  }

  // The round opens at another instant than was known.
  moved(opens) {
    this.round.opens = opens;
    if (this.screen === "before" && this.startAt !== null) this.startAt = opens + this.startJitter;
    else if ((this.screen === "ready" || (this.screen === "asking" && !this.busy)) && this.opensIn > 0) this.begin();
    this.house.alarms.check();
  }

  // The person wants to ask now: a tap, a shake, or the page for whoever has left it to the page.
  go() {
    if (this.busy || this.decided) return;
    this.wanted = true;
    const name = `ask ${this.round.id}`;
    if (this.screen === "before" || this.screen === "ready") {
      const left = () => (this.unsure ? 50 : this.startAt - this.house.clock.now(this.now));
      this.show("asking");
      this.house.alarms.set(name, left, () => {
        // Who slept through the start window would come together with all others who did.
        const late = this.startAt ? this.house.clock.now(this.now) - this.startAt : 0;
        if (late > LATE_MS) this.house.alarms.after(name, this.house.draw() * this.asking.policy.start_window_ms, () => this.ask());
        else this.ask();
      });
    } else if (this.screen === "again") {
      const wait = Math.max(0, this.until - this.now);
      this.show("asking");
      this.house.alarms.after(name, wait, () => this.ask());
    } else if (this.screen === "given_up") {
      this.ask();
    }
  }

  async ask() {
    if (this.busy || this.decided) return;
    if (this.house.expired()) {
      this.show("expired");
      return;
    }
    if (!this.house.leads()) {
      this.retry(); // another tab of this person asks; this one stands by
      return;
    }
    const heldBack = this.asking.sending(this.now / 1000);
    if (heldBack) {
      this.follow(heldBack);
      return;
    }
    this.busy = true;
    this.until = null;
    this.show("asking");
    let step;
    try {
      step = await this.claim();
    } finally {
      this.busy = false;
    }
    if (step) this.follow(step);
  }

  // Send one claim; returns what follows, or null where the screen says it all.
  async claim() {
    const { net, gates, bases, view } = this.house;
    const now = this.now / 1000;
    const another = gates.another(now);
    const deadline = this.asking.policy.answer_deadline_ms / 1000;
    const key = this.key ? `/${encodeURIComponent(this.key)}` : "";
    try {
      const answer = await net.ask(`${bases[gates.at]}/rounds/${this.round.id}/grab${key}`, {
        method: "POST",
        ticket: this.house.ticket(),
        deadline: another ? Math.min(deadline, GATE_DEADLINE_S) : deadline,
      });
      return answer.status === 200 && answer.ours ? this.answered(answer) : this.refused(answer);
    } catch (fault) {
      if (!(fault instanceof Unreached)) throw fault;
      const at = view.performance.now() / 1000;
      const step = this.asking.failed({ reached: true, another: gates.another(at) });
      gates.failed(at);
      return step;
    }
  }

  answered({ body, at }) {
    const { gates, clock } = this.house;
    gates.answered();
    if (body.server_time) clock.observe(Date.parse(body.server_time), at);
    const opens = body.opens_at ? Date.parse(body.opens_at) : null;
    const opensIn = opens === null || !clock.known ? null : (opens - clock.now(this.now)) / 1000;
    const step = this.asking.answered(body.outcome, { intervalMs: body.interval_ms ?? this.advised, opensIn });
    if (body.outcome === "granted" && body.grant) {
      this.grant = body.grant;
      this.house.won(this, body.grant, body.repeat === true);
    } else if (isFinal(body.outcome)) {
      this.show(["empty", "closed", "not_eligible"].includes(body.outcome) ? body.outcome : "refused");
    } else if (body.outcome === "not_open" && opensIn > 0) {
      this.round.opens = opens;
      this.wanted = this.auto;
      this.begin();
    } else {
      return step;
    }
    return null;
  }

  refused({ status, headers, body, ours }) {
    const { gates } = this.house;
    const now = this.now / 1000;
    // A portal or a proxy has spoken, not a gate: that must not end anybody's asking.
    if (!ours && !RETRIED_STATUSES.has(status)) return this.asking.failed({ another: gates.another(now) });
    if (status === 401) {
      if (body.exchange) this.house.prove().then((proven) => (proven ? this.retry() : this.show("given_up")));
      else this.show("expired");
      return null;
    }
    const step = this.asking.refused(status, {
      retryAfter: retryAfter(headers),
      intervalMs: body.interval_ms ?? null,
      elsewhere: body.elsewhere === true && this.house.bases.length > 1,
      another: gates.another(now),
    });
    if (body.elsewhere || GATE_FAILED_STATUSES.has(status)) gates.failed(now, true);
    return step;
  }

  retry() {
    this.house.alarms.after(`ask ${this.round.id}`, this.asking.policy.interval_ms * this.house.draw(), () => this.ask());
  }

  follow(step) {
    if (this.decided) return; // another tab knew more
    if (step.pause === null) {
      this.show(step.showing === "given_up" ? "given_up" : "refused");
      return;
    }
    this.until = this.now + step.pause * 1000;
    this.show(step.showing === "again" ? "again" : "waiting");
    // Who missed may try again by hand; who got no answer is helped by patience alone.
    if (this.screen === "waiting" || this.auto) {
      this.house.alarms.set(`ask ${this.round.id}`, () => this.until - this.now, () => this.ask());
    }
  }

  // What was won is known from elsewhere: this device, another tab, or the list of grants.
  has(grant, opened) {
    this.house.alarms.clear(`ask ${this.round.id}`);
    this.house.alarms.clear(`open ${this.round.id}`);
    this.grant = grant;
    this.show(opened ? "won" : "sealed");
  }
}
