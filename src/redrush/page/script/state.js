// Following the event: the tiny state file, whose time sets the clock, and when to look at it again.

const MINUTE = 60000;
export const SAMPLES = 3;
const SAMPLE_PAUSE_MS = 300;

// How long until the next look, in ms. `opensIn`: to the next opening that is known, ms, null: none. `asking`: whether
// this person is in a round just now. No look falls on the opening itself, where everybody would: it goes after it, at
// `jitter` of the start window.
export function nextLook({ opensIn, asking, failures, draw, window, jitter }) {
  if (failures > 0) return Math.min(2000 * 2 ** Math.min(failures - 1, 4), 20000) * (0.5 + draw());
  let pause;
  if (opensIn !== null && opensIn > 0) pause = opensIn > MINUTE ? 15000 + draw() * 45000 : 4000 + draw() * 2000;
  else pause = asking ? 2500 + draw() * 1500 : 15000 + draw() * 30000;
  if (opensIn !== null && opensIn > 0 && pause > opensIn - 250) return opensIn + jitter * window;
  return pause;
}

export class Follower {
  // `told(state)` hears every state, `failed()` every look that came to nothing.
  constructor({ url, net, clock, view, told, failed }) {
    Object.assign(this, { url, net, clock, view, told, failed });
    this.failures = 0;
    this.looking = null;
  }

  // Look once; a look that is under way is waited for.
  look() {
    this.looking ??= this.ask().finally(() => {
      this.looking = null;
    });
    return this.looking;
  }

  async ask() {
    const now = this.view.performance.now();
    const second = this.clock.known ? Math.floor(this.clock.now(now) / 1000) : Math.floor(this.view.Date.now() / 1000);
    try {
      const { status, headers, body, at, ours } = await this.net.ask(`${this.url}?s=${second}`, { deadline: 5 });
      if (status !== 200 || !ours || body.v !== 1) throw new Error("no state");
      this.clock.observe(Number(headers.get("Redrush-Now")) * 1000 || body.now, at);
      this.failures = 0;
      this.told(body);
    } catch {
      this.failures += 1;
      this.failed();
    }
  }

  // Some looks in a row: the least delayed of them sets the clock.
  async settle() {
    for (let number = 0; number < SAMPLES; number += 1) {
      if (number) await new Promise((resolve) => this.view.setTimeout(resolve, SAMPLE_PAUSE_MS));
      await this.look();
      if (this.failures) return;
    }
  }
}
