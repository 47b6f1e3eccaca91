// Room: shakes of a telephone, as its person has allowed them.
import { listenToShakes } from "./shake.js";

export class Motion {
  constructor(page) {
    this.page = page;
    this.state = ""; // not asked for; on; or why not: denied, absent
    this.hearing = false;
  }

  // Called in the tap itself: leave to feel motion is given then or never.
  begin() {
    const { page } = this;
    if (this.hearing) {
      this.state = "on";
      page.render();
      return;
    }
    listenToShakes(page.view, page.config.policy.interval_ms, () => this.felt()).then((found) => {
      this.state = found;
      this.hearing = found === "on";
      page.screen.announce(page.speech.say(`shake_${found}`));
      page.render();
    });
  }

  end() {
    this.state = "";
    this.page.render();
  }

  felt() {
    const { page } = this;
    const { rush } = page.rounds;
    if (this.state !== "on" || !rush) return;
    if (rush.screen === "before") page.screen.announce(page.speech.say("shake_felt"));
    else page.press();
  }
}
