// One person asking one round, whatever its kind, from before the opening to what became of it. When to ask is decided by the client policy
// (policy.js); here is the asking. `screen` is what to show, and one of:
//   before ready asking again waiting given_up inline held_out wrong_word | sealed won held paying bought late refunded
//   played limit empty closed line_closed not_eligible no_packet refused expired
import { Asking, GATE_DEADLINE_S, GATE_FAILED_STATUSES, RETRIED_STATUSES, isFinal } from "./policy.js";
import { Unreached, retryAfter } from "./net.js";

const LATE_MS = 1000;
const FINAL = new Set([
  "sealed", "won", "held", "paying", "bought", "late", "refunded", "played", "limit", "empty", "closed", "line_closed",
  "not_eligible", "no_packet", "refused", "expired",
]);

export class Rush {
  // `house`: net, alarms, clock, gates, bases (URLs of gates), view, draw, ticket(), expired(), leads(), prove(), changed(rush, was), won(rush, grant)
  constructor(round, policy, house) {
    this.round = round;
    this.house = house;
    this.asking = new Asking(policy, house.draw);
    this.screen = "before";
    this.wishesAuto = false;
    this.key = null;
    this.unsure = false; // the clock may have leapt: nothing opens before it is known again
    this.until = null; // performance.now() of the next request, for whoever waits
    this.grant = null;
    this.order = null; // of a sale: how far paying is, as the server told
    this.paying = null; // what is said while nobody has told how to pay
    this.looks = 0; // at the order since it came to where it is
    this.advised = null;
    this.wanted = false;
    this.busy = false;
    this.lost = false; // the answer to a claim never came: what it has won is told as a repeat, and is new
    this.startAt = null;
    this.admitted = null; // the ticket of whoever has come through the line
    this.play = 1; // of a draw: the number of the next play
    this.nextAt = null; // when asking may help again, ms of the server
    this.word = null; // what has to be said for a packet between people
  }

  // Whether the page may ask by itself: never where a person spends something with it.
  get auto() {
    return this.wishesAuto && (this.round.kind ?? "packets") === "packets";
  }

  set auto(wanted) {
    this.wishesAuto = wanted;
  }

  // Where this claims, below the base of the campaign.
  get path() {
    if (this.round.kind === "group") return `/packets/${this.round.packet}/grab`;
    return `/rounds/${this.round.id}/grab${this.key ? `/${encodeURIComponent(this.key)}` : ""}`;
  }

  get body() {
    if (this.round.kind === "draw") return { play: this.play };
    return this.round.kind === "group" && this.word ? { word: this.word } : null;
  }

  get now() {
    return this.house.view.performance.now();
  }

  // Of a draw: how many plays are left of those that count now; null while nobody has told.
  get playsLeft() {
    const { counts } = this.round;
    return counts ? Math.max(0, counts.last - Math.max(this.play, counts.first) + 1) : null;
  }

  // Which plays count now, and which of them is the next: by the state file, an answer, or another device.
  heardOfPlays(counts, next = 1) {
    this.round.counts = counts;
    this.play = Math.max(this.play, counts.first, next);
    this.nextAt = counts.next ?? null;
    if (this.busy) return;
    if (this.playsLeft === 0 && ["ready", "again"].includes(this.screen)) this.show("played");
    else if (this.playsLeft > 0 && this.screen === "played") {
      this.wanted = false; // a new day's plays are spent by nobody but their person
      this.show("ready");
    }
  }

  // Milliseconds to the opening by the server's clock.
  get opensIn() {
    return this.round.opens - this.house.clock.now(this.now);
  }

  // Whether an answer to a claim will come that this person has not had yet.
  get unheard() {
    return this.busy || (this.lost && this.screen === "waiting");
  }

  get decided() {
    return FINAL.has(this.screen);
  }

  show(screen) {
    const was = this.screen;
    this.screen = screen;
    this.house.changed(this, was);
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
    if (this.round.line && !this.admitted) return; // the line opens it
    if (this.auto || this.wanted) this.go();
    else this.show(this.playsLeft === 0 ? "played" : "ready");
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
    } else if (this.screen === "again" || this.screen === "wrong_word") {
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
    if (this.round.secret && !this.key) {
      // The secret part of the path is told by the state file from the opening on, a second late at an edge.
      this.show("asking");
      this.house.look().then(() => (this.key ? this.ask() : this.retry()));
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
    try {
      const answer = await net.ask(`${bases[gates.at]}${this.path}`, {
        method: "POST",
        ticket: this.admitted || this.house.ticket(),
        body: this.body,
        deadline: another ? Math.min(deadline, GATE_DEADLINE_S) : deadline,
      });
      return answer.status === 200 && answer.ours ? this.answered(answer) : this.refused(answer);
    } catch (fault) {
      if (!(fault instanceof Unreached)) throw fault;
      this.lost = true;
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
    if (this.round.kind === "draw") this.countPlay(body);
    const special = SPECIAL[body.outcome];
    if (body.outcome === "granted" && body.grant) {
      const grant = body.hold ? { ...body.grant, hold: body.hold } : body.grant;
      this.grant = grant;
      this.house.won(this, grant, body.repeat === true);
      this.lost = false;
    } else if (special) {
      return special(this, body, step);
    } else if (isFinal(body.outcome)) {
      this.show(FINAL.has(body.outcome) ? body.outcome : "refused");
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
    this.lost ||= status >= 500 || !ours;
    // A portal or a proxy has spoken, not a gate: that must not end anybody's asking.
    if (!ours && !RETRIED_STATUSES.has(status)) return this.asking.failed({ another: gates.another(now) });
    if (status === 409 && body.line) {
      this.admitted = null;
      this.house.lineUp(this);
      return null;
    }
    if (status === 401 && this.admitted) {
      this.admitted = null; // the time of whoever was let in is over
      this.house.lineUp(this);
      return null;
    }
    if (status === 401) {
      if (body.exchange) this.house.prove().then((proven) => (proven ? this.retry() : this.show("given_up")));
      else this.show("expired");
      return null;
    }
    if (status === 404 && this.round.kind === "group") {
      this.show("no_packet");
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

  // What a play came to: its number is spent, and repeating it would tell the same.
  countPlay(body) {
    if (body.outcome === "limit") {
      const next = body.next_plays_at ? Date.parse(body.next_plays_at) : undefined;
      if (body.plays) this.heardOfPlays({ ...body.plays, next });
      return;
    }
    if (!["granted", "missed"].includes(body.outcome) || body.ask_again) return;
    this.play = Math.max(this.play, (body.play ?? this.play) + 1);
    this.house.played(this);
  }

  // Once more, in a draw that has plays left, after a prize was looked at.
  playAgain() {
    this.until = this.now;
    this.screen = "again";
    this.go();
  }

  // What was won is known from elsewhere: this device, another tab, or the list of grants.
  has(grant, opened) {
    this.house.alarms.clear(`ask ${this.round.id}`);
    this.house.alarms.clear(`open ${this.round.id}`);
    this.grant = grant;
    if (grant.hold) this.show("held");
    else if (this.round.kind === "sale") this.show("bought");
    else this.show(opened ? "won" : "sealed");
  }
}

// Outcomes that some kinds have, and what follows them: a step of the policy, or null where the screen says it all.
const SPECIAL = {
  limit(rush, body, step) {
    if (rush.round.kind === "group") return step;
    if (rush.round.kind === "draw" && rush.playsLeft !== 0) return step;
    rush.show(rush.round.kind === "draw" ? "played" : "limit");
    return null;
  },
  missed(rush, body, step) {
    if (rush.round.kind !== "draw" || rush.playsLeft !== 0) return step;
    rush.show("played");
    return null;
  },
  wrong_word(rush) {
    rush.until = rush.now;
    rush.show("wrong_word");
    return null;
  },
  // Nothing is free before that instant: whoever waits for it comes back spread over the start window.
  held_out(rush, body, step) {
    if (!body.next_chance_at) return step;
    rush.nextAt = Date.parse(body.next_chance_at);
    const in_ms = rush.nextAt - rush.house.clock.now(rush.now) + rush.house.draw() * rush.asking.policy.start_window_ms;
    rush.until = rush.now + Math.max(in_ms, step.pause * 1000);
    rush.show("held_out");
    rush.house.alarms.set(`ask ${rush.round.id}`, () => rush.until - rush.now, () => rush.ask());
    return null;
  },
};
