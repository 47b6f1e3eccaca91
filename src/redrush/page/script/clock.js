// The server's time on the page's monotonic clock. Network and caches make what a state file says older than true, so
// every sample under-estimates, and the largest is the best: late by the least delay that was seen, early never but for
// what a quartz drifts within the window. Nobody's wall clock is asked: some are an hour wrong, some on purpose.

export const WINDOW_MS = 120000;
export const JUMP_MS = 500;

export class ServerClock {
  constructor() {
    this.samples = [];
  }

  get known() {
    return this.samples.length > 0;
  }

  // The server said `serverMs`, and the first byte of that was here at `at` (performance.now()).
  observe(serverMs, at) {
    this.samples = this.samples.filter((sample) => sample.at > at - WINDOW_MS);
    this.samples.push({ at, offset: serverMs - at });
    if (this.samples.length > 32) this.samples.shift();
  }

  // What the server's clock shows at `at`, in ms since the epoch.
  now(at) {
    return at + Math.max(...this.samples.map((sample) => sample.offset));
  }
}

// Tells that the machine slept or that its clock was set: then one of the two clocks went on without the other.
export class Leaps {
  constructor(wall, steady) {
    this.apart = wall - steady;
  }

  leapt(wall, steady) {
    const apart = wall - steady;
    const leapt = Math.abs(apart - this.apart) > JUMP_MS;
    this.apart = apart;
    return leapt;
  }
}
