// Things to be done later, by name. Each knows how many milliseconds are left when it is asked, so one that goes by the
// server's clock follows that clock; and no timer runs longer than an hour, for browsers let one of 25 days fire at once.

export const HOP_MS = 3600000;

export class Alarms {
  constructor(view) {
    this.view = view;
    this.set_ = new Map();
  }

  set(name, left, act) {
    this.clear(name);
    this.set_.set(name, { left, act, timer: null });
    this.arm(name);
  }

  after(name, ms, act) {
    const due = this.view.performance.now() + ms;
    this.set(name, () => due - this.view.performance.now(), act);
  }

  clear(name) {
    const alarm = this.set_.get(name);
    if (alarm) this.view.clearTimeout(alarm.timer);
    this.set_.delete(name);
  }

  // Look at all of them again: the machine woke up, or a deadline was moved.
  check() {
    for (const name of [...this.set_.keys()]) this.arm(name);
  }

  arm(name) {
    const alarm = this.set_.get(name);
    if (!alarm) return;
    this.view.clearTimeout(alarm.timer);
    const ms = Math.min(Math.max(0, alarm.left()), HOP_MS);
    alarm.timer = this.view.setTimeout(() => {
      if (this.set_.get(name) !== alarm) return;
      if (alarm.left() > 0) {
        this.arm(name);
        return;
      }
      this.set_.delete(name);
      alarm.act();
    }, ms);
  }
}
