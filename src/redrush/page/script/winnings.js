// Room: what was won. Kept at once, opened by its person, told by a gate on another device, and listed.
import { nextTurn } from "./turns.js";

const GRANTS_AFTER_MS = 10000;
const SHOWN = new Set(["held", "paying", "bought", "late"]);

export class Winnings {
  constructor(page) {
    this.page = page;
    this.asked = false;
    this.shown = null;
    this.opening = new Set(); // ids of grants
  }

  won(rush, granted, repeat) {
    const { person } = this.page;
    const grant = rush.packet ? { ...granted, from: rush.packet.from } : granted;
    // The same slot may have been held before, and what became of that is not what becomes of this hold.
    const before = person.wins[grant.id]?.grant;
    if (!repeat || before?.hold?.expires_at !== grant.hold?.expires_at) person.drop(grant.id);
    // What was won before is shown as it is; what is new is opened by its person.
    person.keep(grant, repeat && !rush.lost && !grant.open);
    rush.has(person.wins[grant.id].grant, person.wins[grant.id].opened);
    if (grant.hold && repeat) this.page.till.look(rush); // somebody may have begun to pay for it
  }

  // What is known on this device, or was found out by another tab.
  recall() {
    const { page } = this;
    for (const { grant, opened } of Object.values(page.person.wins)) {
      const rush = page.rounds.rushes.get(grant.round);
      if (rush && !grant.hold === !rush.grant?.hold && SHOWN.has(rush.screen)) continue;
      if (rush && !["sealed", "won"].includes(rush.screen)) rush.has(grant, opened);
      else if (rush && opened && rush.screen === "sealed") rush.show("won");
    }
    page.render();
  }

  // What this person has won elsewhere, or before: asked once, and not in the rush of an opening.
  async ask() {
    const { page } = this;
    const { person } = page;
    const began = page.rounds.all.some((round) => round.opens + GRANTS_AFTER_MS < page.now);
    const held = Object.values(person.wins).filter(({ grant }) => grant.hold);
    if ((this.asked && !held.length) || !began || !person.ticket || person.expired) return;
    this.asked = true;
    const answer = await page.tell("/grants", "GET").catch(() => null);
    if (answer?.status !== 200) return; // the next visit asks again; what is known here is shown
    const grants = answer.body.grants || [];
    for (const { grant } of held) {
      const now = grants.find(({ id }) => id === grant.id);
      if (now?.hold) continue;
      if (!now) page.rounds.enter(grant.round);
      const rush = page.rounds.rushes.get(grant.round);
      // Gone, which its order may know more of: money may have come too late. Or paid for, and like any other below.
      if (!now && rush?.grant?.id === grant.id) page.till.look(rush, true);
      else person.drop(grant.id);
    }
    for (const grant of grants) {
      // What a claim has won that is under way, or comes again, is told by its own answer, as new.
      if (page.rounds.rushes.get(grant.round)?.unheard) this.asked = false;
      else if (!person.wins[grant.id]) person.keep(grant, !grant.open);
    }
    for (const [id, { next }] of Object.entries(answer.body.plays || {})) {
      const rush = page.rounds.rushes.get(id);
      if (next > (person.of("play", id) ?? 1) && !rush?.unheard) person.keepOf("play", id, next);
      if (rush?.round.counts && !rush.unheard) rush.heardOfPlays(rush.round.counts, next);
    }
    this.recall();
  }

  async open(rush) {
    if (this.opening.has(rush.grant.id)) return;
    this.opening.add(rush.grant.id);
    try {
      await this.unseal(rush);
    } finally {
      this.opening.delete(rush.grant.id);
    }
  }

  // In turns: what a tap does at once is nothing but to begin.
  async unseal(rush) {
    const { page } = this;
    const { view, screen } = page;
    if (rush.grant.open && !rush.grant.amount) {
      const opened = await page.order(`/grants/${rush.grant.id}/open`);
      if (!opened?.grant) return;
      rush.grant = { ...rush.grant, ...opened.grant };
    }
    const { grant } = rush;
    await nextTurn(view);
    page.person.keep(grant, true);
    await nextTurn(view);
    if (rush.screen !== "sealed") return; // another tab has opened it meanwhile
    screen.celebrate();
    page.sounds.play("won");
    rush.show("won");
    await nextTurn(view);
    view.requestAnimationFrame(() => screen.element.main.focus({ preventScroll: true }));
  }

  // What a grant is, in words.
  worth(grant) {
    const { speech, rounds } = this.page;
    return grant.amount ? speech.money(grant.amount, grant.currency) : grant.prize_name || rounds.nameOf(grant);
  }

  show() {
    const { person, speech, config, rounds, screen } = this.page;
    const opened = Object.values(person.wins).filter((win) => win.opened);
    const key = JSON.stringify([opened, speech.language]);
    if (key === this.shown) return;
    this.shown = key;
    const minor = opened.reduce((sum, { grant }) => sum + (grant.amount ? minorOf(grant.amount, config.digits) : 0n), 0n);
    const entries = opened.map(({ grant }) => [
      `${rounds.nameOf(grant)} · ${speech.when(Date.parse(grant.granted_at))}`,
      grant.amount ? speech.money(grant.amount, grant.currency) : grant.prize_name || "",
      grant.code ? speech.say("code", { code: grant.code }) : `${speech.say("receipt")} ${grant.id}`,
    ]);
    const total = entries.length > 1 ? speech.say("mine_total", { amount: speech.money(textOf(minor, config.digits)) }) : "";
    screen.mine(speech.say("mine"), entries, total);
  }
}

const minorOf = (amount, digits) => {
  const [whole, places = ""] = amount.split(".");
  return BigInt(whole + places.padEnd(digits, "0"));
};

const textOf = (minor, digits) => {
  const text = String(minor).padStart(digits + 1, "0");
  return digits ? `${text.slice(0, -digits)}.${text.slice(-digits)}` : text;
};
