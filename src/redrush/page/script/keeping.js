// Room: the page is kept for whoever opens it without a network, where a browser can. Begun when there is time for it.
import { scriptAddress } from "./workers.js";

const AFTER_MS = 10000;

export class Keeping {
  constructor(page) {
    this.page = page;
  }

  // Called once the page is at rest. Around an opening nobody has time for that.
  later() {
    const { alarms, draw, config, view } = this.page;
    if (config.page.offline && view.navigator.serviceWorker) alarms.after("keep", AFTER_MS * (1 + draw()), () => this.keep());
  }

  keep() {
    const { rounds, view } = this.page;
    if (!rounds.calm) this.later();
    else view.navigator.serviceWorker.register(scriptAddress(view, "/sw.js"), { updateViaCache: "none" }).catch(() => {});
  }
}
