// Room: what leaves the page. A reminder for the calendar, and a link for others.
import { calendarFile } from "./calendar.js";

const KEPT_MS = 10000;

export class Outside {
  constructor(page) {
    this.page = page;
  }

  get home() {
    return this.page.view.location.href.split("#")[0];
  }

  remind() {
    const { page } = this;
    const { view, config } = page;
    if (/MicroMessenger/i.test(view.navigator.userAgent)) {
      page.hintAt("remind_wechat");
      return;
    }
    const round = page.rounds.round(page.rounds.chosen);
    const text = calendarFile({
      uid: `${config.id}-${round.id}@redrush`,
      name: page.title,
      url: this.home,
      opens: round.opens,
      closes: round.closes,
      now: page.now,
    });
    const url = view.URL.createObjectURL(new view.Blob([text], { type: "text/calendar" }));
    page.screen.make("a", { href: url, download: `${config.id}.ics` }).click();
    view.setTimeout(() => view.URL.revokeObjectURL(url), KEPT_MS);
  }

  async share(url = this.home, copied = "copied") {
    const { page } = this;
    const { navigator } = page.view;
    const text = page.speech.say("share_text", { name: page.title });
    try {
      if (navigator.share) await navigator.share({ title: page.title, text, url });
      else {
        await navigator.clipboard.writeText(`${text} ${url}`);
        page.hintAt(copied);
      }
    } catch {
      // the person has thought better of it
    }
  }
}
