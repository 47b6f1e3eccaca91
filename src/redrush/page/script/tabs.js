// Two tabs of one person behave like one: the one that was used last asks, the others show what comes of it. Where a
// browser has no locks each tab asks for itself, and the gate tells all of them the same.

export class Tabs {
  constructor(name, view, changed) {
    this.name = name;
    this.view = view;
    this.changed = changed;
    this.leads = !view.navigator.locks;
    this.wish = 0;
  }

  // Become the one that asks; with `steal` at once, else when no other one is left. Of several wishes the last counts: a
  // page that comes back hears of that in three ways at once, and must not take the lead from itself.
  lead(steal = false) {
    const { locks } = this.view.navigator;
    if (!locks || this.leads) return;
    const wish = ++this.wish;
    const held = () => {
      if (wish !== this.wish) return null; // let it go again
      this.leads = true;
      this.changed();
      return new Promise(() => {}); // until the tab is closed, or another one takes it
    };
    locks.request(this.name, { steal }, held).catch(() => {
      if (wish !== this.wish) return;
      this.leads = false;
      this.changed();
      this.lead();
    });
  }
}
