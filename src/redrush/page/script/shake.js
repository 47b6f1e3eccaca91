// Shakes of a telephone, and nothing that a button would not do as well (WCAG 2.5.4). By time, not by samples: browsers
// give 16 to 60 of them a second.

export const TRIGGER_MS2 = 12;
export const WITHIN_MS = 500;
export const NO_SENSOR_MS = 1500;

// Pure: `feel` says whether the reading at `at` (ms) completes a shake; `rest` ms pass before the next one can.
export class ShakeDetector {
  constructor(rest) {
    this.rest = rest;
    this.mean = [null, 0, 0];
    this.last = 0;
    this.sign = 0;
    this.turns = [];
    this.quietUntil = -Infinity;
  }

  feel(x, y, z, at) {
    const force = [x || 0, y || 0, z || 0];
    if (this.mean[0] === null) {
      this.mean = force;
      this.last = at;
      return false;
    }
    const part = 1 - Math.exp(-(at - this.last) / 400);
    this.last = at;
    this.mean = this.mean.map((mean, axis) => mean + (force[axis] - mean) * part);
    const moved = force.map((value, axis) => value - this.mean[axis]);
    const strongest = moved.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
    if (Math.abs(strongest) < TRIGGER_MS2) return false;
    const sign = Math.sign(strongest);
    if (sign !== this.sign) {
      this.sign = sign;
      this.turns = this.turns.filter((turn) => turn > at - WITHIN_MS);
      this.turns.push(at);
    }
    if (this.turns.length < 3 || at < this.quietUntil) return false;
    this.turns = [];
    this.quietUntil = at + this.rest;
    return true;
  }
}

// Ask for motion inside the handler of a tap, before anything is awaited: a browser gives leave then or never.
// Returns whether shakes are heard: "on", or why not: "denied", "absent".
export function listenToShakes(view, rest, shaken) {
  const Motion = view.DeviceMotionEvent;
  if (!Motion) return Promise.resolve("absent");
  const asked = Motion.requestPermission ? Motion.requestPermission().catch(() => "denied") : Promise.resolve("granted");
  return asked.then((leave) => {
    if (leave !== "granted") return "denied";
    return new Promise((resolve) => {
      const detector = new ShakeDetector(rest);
      const none = view.setTimeout(() => resolve("absent"), NO_SENSOR_MS);
      view.addEventListener(
        "devicemotion",
        (event) => {
          const felt = event.accelerationIncludingGravity;
          if (!felt || felt.x === null) return;
          view.clearTimeout(none);
          resolve("on");
          if (detector.feel(felt.x, felt.y, felt.z, view.performance.now())) shaken();
        },
        { passive: true },
      );
    });
  });
}
