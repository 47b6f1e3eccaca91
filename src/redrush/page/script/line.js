// Standing in the line before a round: a pass, a place, and the way in when it is one's turn. The place is signed in the
// pass, so closing the page loses nothing, and asking more often moves nobody.
import { Unreached } from "./net.js";

const LOOK_MIN_MS = 3000;
const LINE_FINAL = new Set(["closed", "empty", "not_eligible", "line_closed"]);

export class Line {
  // `house` is that of the rush; `kept` and `keep` are for the pass.
  constructor(rush, house, kept, keep) {
    Object.assign(this, { rush, house, keep, pass: kept, told: null, busy: false });
  }

  get name() {
    return `line ${this.rush.round.id}`;
  }

  // Join once the line is open, spread over the start window as claims are.
  begin() {
    const { rush, house } = this;
    const { round } = rush;
    const jitter = house.draw() * rush.asking.policy.start_window_ms;
    const left = () => (rush.unsure ? 50 : round.opens - round.line.opens_before_ms - house.clock.now(rush.now));
    const late = left() < 0;
    house.alarms.set(this.name, () => left() + (late ? 0 : jitter), () => this.step());
  }

  // The state file says up to which place people may go in.
  serving(place) {
    const { rush } = this;
    if (this.told && this.pass && rush.screen === "inline" && place >= this.told.place && rush.opensIn <= 0) this.soon(0);
  }

  soon(ms) {
    this.house.alarms.after(this.name, ms, () => this.step());
  }

  async step() {
    const { rush, house } = this;
    if (this.busy || rush.admitted || rush.decided) return;
    this.busy = true;
    const enters = this.pass !== null && rush.opensIn <= 0;
    try {
      const answer = await house.net.ask(`${house.bases[house.gates.at]}/rounds/${rush.round.id}/${enters ? "enter" : "line"}`, {
        method: "POST",
        ticket: house.ticket(),
        body: enters ? { pass: this.pass } : null,
      });
      this.hear(answer);
    } catch (fault) {
      if (!(fault instanceof Unreached)) throw fault;
      this.soon(LOOK_MIN_MS * (1 + house.draw()));
    } finally {
      this.busy = false;
    }
  }

  hear({ status, body, ours }) {
    const { rush, house } = this;
    if (status === 401) {
      rush.show("expired");
    } else if (status === 400) {
      this.keepPass(null); // of another event, or worn out: join anew
      this.soon(LOOK_MIN_MS);
    } else if (status !== 200 || !ours) {
      this.soon(LOOK_MIN_MS * (1 + house.draw()));
    } else if (body.outcome === "admitted") {
      rush.admitted = body.ticket;
      rush.startAt = 0;
      rush.screen = "ready";
      if (rush.auto) rush.go();
      else rush.show("ready");
    } else if (LINE_FINAL.has(body.outcome)) {
      rush.show(body.outcome);
    } else {
      if (body.pass) this.keepPass(body.pass);
      else if (body.outcome === "passed") this.keepPass(null);
      if (body.place !== undefined) this.told = body;
      if (body.outcome !== "not_open") rush.show("inline");
      this.lookLater(body);
    }
  }

  // The next look: as advised; before the opening of the round nothing changes until then.
  lookLater(body) {
    const { rush, house } = this;
    if (rush.opensIn > 0) {
      const jitter = house.draw() * rush.asking.policy.start_window_ms;
      house.alarms.set(this.name, () => rush.opensIn + jitter, () => this.step());
    } else {
      this.soon(Math.max(LOOK_MIN_MS, body.interval_ms || 0) * (1 + house.draw() / 2));
    }
  }

  keepPass(pass) {
    this.pass = pass;
    this.keep(pass);
  }
}
