// The client policy as a machine: what redrush.client.policy is in Python, line for line. tests/client/policy_cases.json
// runs against both. Pure: clock and chance are handed in, nothing is sent here. Seconds throughout.

export const TOKENS_MAX = 2;
export const GATE_AVOIDED_S = 30;
export const GATE_AVOIDED_DOUBLINGS_MAX = 3;
export const GATE_DEADLINE_S = 3;
export const COME_BACK_DOUBLINGS_MAX = 3;
export const RETRIED_STATUSES = new Set([408, 429, 500, 502, 503, 504]);
export const GATE_FAILED_STATUSES = new Set([500, 502, 503, 504]);
const TRANSIENT = new Set(["missed", "not_open", "held_out", "wrong_word", "limit", "in_line", "waiting", "passed"]);

// Whether asking again cannot change the outcome.
export const isFinal = (outcome) => !TRANSIENT.has(outcome);

// `pause` null: the client has stopped.
const step = (pause, showing, elsewhere = false) => ({ pause, showing, elsewhere });

// Which of an event's gates one participant asks.
export class Gates {
  constructor(count, draw) {
    this.at = 0;
    this.draw = draw;
    this.avoidedUntil = Array(count).fill(-Infinity);
    this.failures = Array(count).fill(0);
  }

  another(now) {
    return this.others(now).length > 0;
  }

  failed(now, spoke = false) {
    const doublings = Math.min(this.failures[this.at], GATE_AVOIDED_DOUBLINGS_MAX);
    this.failures[this.at] += 1;
    this.avoidedUntil[this.at] = now + GATE_AVOIDED_S * 2 ** doublings;
    const others = this.others(now);
    if (others.length) {
      this.at = others[Math.min(Math.floor(this.draw() * others.length), others.length - 1)];
    } else if (!spoke) {
      this.at = this.avoidedUntil.indexOf(Math.min(...this.avoidedUntil));
    }
  }

  answered() {
    this.failures[this.at] = 0;
    this.avoidedUntil[this.at] = -Infinity;
  }

  others(now) {
    return this.avoidedUntil.map((_, gate) => gate).filter((gate) => gate !== this.at && this.avoidedUntil[gate] <= now);
  }
}

// One participant asking one round: `begin` once, then `sending` before and one of the others after each request.
export class Asking {
  constructor(policy, draw) {
    this.policy = policy;
    this.draw = draw;
    this.tokens = draw();
    this.retrying = this.moved = false;
    this.failures = this.comeBacks = this.requests = this.accepts = 0;
    this.forgets = -Infinity;
  }

  begin(opensIn) {
    if (opensIn <= 0) return step(0, "asking");
    return step(opensIn + (this.draw() * this.policy.start_window_ms) / 1e3, "before");
  }

  sending(now) {
    if (now >= this.forgets) {
      this.requests = this.accepts = 0;
      this.forgets = now + this.policy.throttle_window_ms / 1e3;
    }
    const heldBack = (this.requests - this.policy.throttle_k * this.accepts) / (this.requests + 1);
    this.requests += 1;
    if (heldBack > 0 && this.draw() < heldBack) return step(this.interval(null) + this.backoff(), "waiting");
    if (!this.retrying) this.tokens = Math.min(this.tokens + this.policy.retry_share, TOKENS_MAX);
    return null;
  }

  answered(outcome, { intervalMs = null, opensIn = null } = {}) {
    this.served();
    if (isFinal(outcome)) return step(null, "decided");
    if (outcome === "not_open" && opensIn !== null && opensIn > 0) return this.begin(opensIn);
    return step(this.interval(intervalMs) * (1 + this.draw() / 2), "again");
  }

  served() {
    this.accepts += 1;
    this.failures = this.comeBacks = 0;
    this.retrying = this.moved = false;
  }

  refused(status, { retryAfter = null, intervalMs = null, elsewhere = false, another = false } = {}) {
    if (!RETRIED_STATUSES.has(status)) return step(null, "refused");
    if (another) this.forgetRequests();
    if (elsewhere && !this.moved && this.tokens >= 1) {
      this.tokens -= 1;
      this.failures += 1;
      this.moved = this.retrying = true;
      return step(this.backoff(), "waiting", true);
    }
    const atLeast = this.interval(intervalMs);
    if (elsewhere && another) return this.afterFailure(atLeast, 0.5);
    return this.afterFailure(Math.max(atLeast, retryAfter || 0));
  }

  failed({ reached = true, another = false } = {}) {
    if (another && (!reached || !this.moved)) {
      this.moved = this.moved || reached;
      this.retrying = true;
      this.forgetRequests();
      return step((this.draw() * this.policy.backoff_first_ms) / 1e3, "waiting", true);
    }
    return this.afterFailure(this.interval(null));
  }

  forgetRequests() {
    this.requests = this.accepts = 0;
  }

  afterFailure(atLeast, comeBackPart = 1) {
    this.failures += 1;
    if (this.failures >= this.policy.attempts_max) {
      this.failures = this.comeBacks = 0;
      return step(null, "given_up");
    }
    this.retrying = this.tokens >= 1;
    if (this.retrying) {
      this.tokens -= 1;
      return step(atLeast + this.backoff(), "waiting");
    }
    const comeBack = (this.policy.come_back_ms * 2 ** Math.min(this.comeBacks, COME_BACK_DOUBLINGS_MAX)) / 1e3;
    this.comeBacks += 1;
    if (comeBackPart < 1) return step(atLeast + comeBack * comeBackPart * this.draw(), "waiting");
    return step(atLeast + comeBack * (0.5 + this.draw()), "waiting");
  }

  backoff() {
    const { backoff_max_ms, backoff_first_ms } = this.policy;
    const span = Math.min(backoff_max_ms, backoff_first_ms * 2 ** Math.max(0, this.failures - 1));
    return (this.draw() * span) / 1e3;
  }

  interval(advisedMs) {
    return Math.max(this.policy.interval_ms, advisedMs || 0) / 1e3;
  }
}
