// Room: what is heard. Tunes of the page's own are made here; files of the campaign are fetched in calm, and where one is
// not there in time its tune is heard. Nothing is heard before a person has touched the page, once they have turned it
// off, and where nobody looks; and nothing ever waits for a sound.

// Of a moment: notes [hertz, when in s].
const TUNES = {
  opening: [[523, 0], [784, 0.14], [1047, 0.28]],
  won: [[523, 0], [587, 0.1], [659, 0.2], [784, 0.3], [880, 0.4], [1047, 0.55], [1568, 0.55]],
  missed: [[659, 0], [523, 0.18]],
};
const LOUD = 0.13;
const RINGS_S = 0.9;
const LASTS_S = 3;
const STALE_MS = 500;
const FETCH_AFTER_MS = 10000;
const LESS = "(prefers-reduced-motion: reduce), (prefers-reduced-data: reduce)";
const OPENED = new Set(["ready", "asking"]);
const MISSED = new Set(["played", "empty"]);

// Whatever a device or a network refuses, nothing else hears of it.
const attempt = (act) => Promise.resolve().then(act).catch(() => {});

export class Sounds {
  constructor(page) {
    this.page = page;
    this.told = page.config.page.sounds;
    this.Audio = page.view.AudioContext || page.view.webkitAudioContext;
    this.there = Boolean(this.Audio && Object.keys(this.told).length);
    this.touched = false;
    this.audio = null;
    this.files = {};
  }

  // As this person has chosen; who wants less of everything is asked first.
  get on() {
    const { memory, view } = this.page;
    return memory.get("sound") ?? !(view.matchMedia(LESS).matches || view.navigator.connection?.saveData);
  }

  listen() {
    if (!this.there) return;
    const { view, screen, memory } = this.page;
    screen.element.sound.addEventListener("click", () => {
      memory.set("sound", !this.on);
      this.show();
      if (!this.on) attempt(() => this.audio?.suspend());
      else this.play("won");
    });
    const touch = () => {
      this.touched = true;
      view.setTimeout(() => this.wake(), 0); // what the touch is for goes first
    };
    for (const name of ["click", "keydown"]) view.document.addEventListener(name, touch, true);
    this.show();
  }

  show() {
    const { screen, speech } = this.page;
    screen.sound(this.there && { label: speech.say("sound"), on: this.on });
  }

  // Whether something can be heard: after a touch, and never before, for a browser would not let it.
  wake() {
    if (!this.there || !this.touched || !this.on) return false;
    if (this.audio) return true;
    try {
      this.audio = new this.Audio();
      this.rest();
      this.fetchLater();
    } catch {
      this.there = false; // no device to hear it from
      this.show();
    }
    return this.there;
  }

  // A context that runs costs a telephone its battery, heard or not.
  rest() {
    const { view } = this.page;
    view.clearTimeout(this.resting);
    this.resting = view.setTimeout(() => attempt(() => this.audio.suspend()), LASTS_S * 1000);
  }

  // A round looks otherwise: the moments of it that are heard. What is sealed is heard when it is opened.
  follow(rush, was) {
    const { screen, round, startAt } = rush;
    if (OPENED.has(screen) && ((was === "before" && startAt) || was === "inline")) this.play("opening");
    else if (was !== "asking") return;
    else if (screen === "held" || screen === "bought") this.play("won");
    else if (MISSED.has(screen) || (screen === "again" && round.kind === "draw")) this.play("missed");
  }

  play(moment) {
    const { view } = this.page;
    if (!(moment in this.told) || view.document.hidden || !this.wake()) return;
    const asked = view.performance.now();
    attempt(() => this.audio.resume().then(() => view.performance.now() - asked < STALE_MS && this.sound(moment)));
  }

  sound(moment) {
    const { audio, files } = this;
    const now = audio.currentTime + 0.02;
    if (files[moment]) {
      const source = audio.createBufferSource();
      source.buffer = files[moment];
      source.connect(audio.destination);
      source.start(now, 0, LASTS_S);
    } else for (const [hertz, after] of TUNES[moment]) this.ring(hertz, now + after);
    this.rest();
  }

  // A small bell: a note and its octave, struck and left to ring.
  ring(hertz, at) {
    const { audio } = this;
    [1, 2].forEach((octave) => {
      const [note, bell] = [audio.createOscillator(), audio.createGain()];
      note.frequency.value = hertz * octave;
      bell.gain.setValueAtTime(0, at);
      bell.gain.linearRampToValueAtTime(LOUD / octave ** 2, at + 0.012);
      bell.gain.exponentialRampToValueAtTime(0.0004, at + RINGS_S / octave);
      note.connect(bell).connect(audio.destination);
      note.start(at);
      note.stop(at + RINGS_S / octave);
    });
  }

  fetchLater() {
    const { alarms, draw } = this.page;
    if (Object.values(this.told).some(Boolean)) alarms.after("sounds", FETCH_AFTER_MS * draw(), () => this.fetch());
  }

  fetch() {
    const { view, rounds } = this.page;
    if (!rounds.calm) {
      this.fetchLater();
      return;
    }
    for (const [moment, file] of Object.entries(this.told)) {
      if (file && !this.files[moment]) attempt(() => this.take(moment, ...file)); // without it the tune is there
    }
  }

  async take(moment, url, integrity) {
    const answer = await this.page.view.fetch(url, { integrity, priority: "low" });
    if (answer.ok) this.files[moment] = await this.audio.decodeAudioData(await answer.arrayBuffer());
  }
}
