// The page's elements. What is shown comes in as a plain object; nothing is decided here, and text is only ever text.
import { drawn } from "./qr.js";

const CONFETTI = 40;
const COLOURS = ["#f5b82e", "#ffe08a", "#ff6b4a", "#f2a900", "#d9281e"];

const SVG = "http://www.w3.org/2000/svg";

export class View {
  constructor(document) {
    this.document = document;
    this.element = Object.fromEntries([...document.querySelectorAll("[id]")].map((one) => [one.id, one]));
    this.shown = "";
  }

  text(id, text) {
    const element = this.element[id];
    if (element.textContent !== text) element.textContent = text;
    element.hidden = text === "";
  }

  make(tag, properties = {}, ...children) {
    const made = this.document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name === "onclick") made.addEventListener("click", value);
      else if (name === "class") made.className = value;
      else if (value !== null && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  // Tell whoever listens instead of looking.
  announce(text) {
    const said = this.element.said;
    said.textContent = "";
    this.document.defaultView.setTimeout(() => {
      said.textContent = text;
    }, 50);
  }

  timer(text) {
    this.element.timer.style.setProperty("--n", Math.max(8, this.wide(text)));
    this.text("timer", text);
  }

  // A link or a code {text, label} as a picture, or none.
  async qr(id, shown) {
    const place = this.element[id];
    const text = shown?.text ?? "";
    if (shown) place.setAttribute("aria-label", shown.label);
    if (place.dataset.shows === text) return;
    place.dataset.shows = text;
    place.hidden = true;
    const made = text && (await drawn(this.document.defaultView, text));
    if (!made || place.dataset.shows !== text) return; // something else is shown meanwhile
    const [picture, path] = ["svg", "path"].map((tag) => this.document.createElementNS(SVG, tag));
    picture.setAttribute("viewBox", made.box);
    path.setAttribute("d", made.path);
    picture.append(path);
    place.replaceChildren(picture);
    place.hidden = false;
  }

  // Whether sounds are on, {label, on}; or that there are none.
  sound(told) {
    const { sound } = this.element;
    sound.hidden = !told;
    if (!told) return;
    sound.setAttribute("aria-label", told.label);
    sound.setAttribute("aria-checked", String(told.on));
  }

  // How wide a line of text is, in digits.
  wide(text) {
    return [...text].reduce((sum, sign) => sum + (sign > "\u2e80" ? 1.7 : 1), 0);
  }

  tag({ small, big }) {
    const { tag } = this.element;
    tag.hidden = !big;
    this.text("tag_small", small);
    this.text("tag_big", big);
    tag.style.setProperty("--n", Math.max(9, this.wide(big)));
  }

  // `model`: screen, headline, line, small, coin {text, label, idle}, tag {small, big}, slip {greeting, sign, amount, note},
  // actions, qr
  show(model) {
    const { body } = this.document;
    body.dataset.screen = model.screen;
    this.text("headline", model.headline);
    this.text("line", model.line);
    this.text("small", model.small || "");
    this.qr("qr", model.qr);
    const { go, hero } = this.element;
    go.hidden = !model.coin;
    if (model.coin) {
      this.element.coin.textContent = model.coin.text;
      go.setAttribute("aria-label", model.coin.label);
      go.setAttribute("aria-disabled", String(model.coin.idle));
    }
    this.tag(model.tag || { small: "", big: "" });
    const slip = model.slip || {};
    this.text("greeting", slip.greeting || "");
    this.text("note", slip.note || "");
    hero.hidden = !slip.amount;
    hero.style.setProperty("--n", Math.max(4, this.wide(slip.amount || "")));
    this.element.sign.textContent = slip.sign || "";
    this.element.amount.textContent = slip.amount || "";
    const key = JSON.stringify([model.screen, (model.actions || []).map(({ act, ...rest }) => rest)]);
    if (key !== this.shown) {
      this.shown = key;
      this.fill("actions", model.actions || []);
    }
  }

  // Rebuild what can be done at a place: whoever has the focus on one of these keeps it.
  fill(id, actions) {
    const focused = this.document.activeElement?.dataset?.name;
    const written = this.keepWritten(this.element[id]);
    const made = actions.map(({ name, text, act, kind, checked, href, download, referrerpolicy }) => {
      const properties = { "data-name": name, class: kind === "main" ? "main" : null, onclick: act };
      if (href) return this.make("a", { ...properties, href, download, referrerpolicy }, text);
      if (kind === "input") {
        const field = this.make("input", { "data-name": name, id: name, autocomplete: "off", maxlength: 200, enterkeyhint: "go" });
        field.addEventListener("keydown", ({ key, isComposing }) => key === "Enter" && !isComposing && act());
        return this.make("label", { for: name }, text, field);
      }
      if (kind === "switch") Object.assign(properties, { role: "switch", "aria-checked": String(checked) });
      return this.make("button", { type: "button", ...properties }, text);
    });
    this.element[id].replaceChildren(...made);
    written();
    if (focused) this.element[id].querySelector(`[data-name="${focused}"]`)?.focus();
  }

  // What somebody has written and chosen in there: the function that is returned puts it into fields of the same names.
  keepWritten(place) {
    const written = [...place.querySelectorAll("input, select")].map(({ id, value }) => [id, value]);
    const focused = this.document.activeElement?.form === place ? this.document.activeElement.id : "";
    return () => {
      for (const [id, value] of written) {
        const field = place.querySelector(`#${id}`);
        if (field) field.value = value;
        if (field && id === focused) field.focus();
      }
    };
  }

  // What somebody has written into a field.
  written(name) {
    return this.document.getElementById(name)?.value.trim() || "";
  }

  rounds(label, entries, chosen, choose) {
    const nav = this.element.rounds;
    nav.hidden = entries.length < 2;
    nav.setAttribute("aria-label", label);
    const key = JSON.stringify([entries, chosen]);
    if (nav.hidden || nav.dataset.key === key) return;
    nav.dataset.key = key;
    const focused = nav.contains(this.document.activeElement);
    nav.replaceChildren(
      ...entries.map(([id, text]) =>
        this.make("button", { type: "button", "aria-current": String(id === chosen), onclick: () => choose(id) }, text),
      ),
    );
    if (focused) nav.querySelector("[aria-current=true]")?.focus();
  }

  mine(title, entries, total) {
    this.element.mine.hidden = entries.length === 0;
    this.text("mine_title", title);
    this.element.mine_list.replaceChildren(
      ...entries.map(([what, amount, small]) =>
        this.make("li", {}, this.make("span", {}, what), this.make("b", {}, amount), this.make("small", {}, small)),
      ),
    );
    this.text("mine_total", total);
  }

  // A form whose fields are [name, label, options or type]; `sent` is called with what was written. Built once a language.
  form(title, fields, button, sent) {
    this.element.send.hidden = false;
    this.text("send_title", title);
    const made = fields.map(([name, label, kind]) => {
      const id = `send_${name}`;
      const field = Array.isArray(kind)
        ? this.make("select", { id, name }, ...kind.map(([value, text]) => this.make("option", { value }, text)))
        : this.make("input", { id, name, inputmode: kind, autocomplete: "off", maxlength: 40 });
      return this.make("label", { for: id }, label, field);
    });
    const form = this.element.send_form;
    const written = this.keepWritten(form);
    form.replaceChildren(...made, this.make("button", { type: "submit", class: "main", id: "send_go" }, button));
    written();
    form.onsubmit = (event) => {
      event.preventDefault();
      sent(Object.fromEntries(fields.map(([name]) => [name, form.elements[name].value.trim()])));
    };
  }

  rules(paragraphs) {
    this.element.rules_text.replaceChildren(...paragraphs.map(({ text, head }) => this.make("p", { class: head ? "head" : null }, text)));
  }

  // The moment of opening: at most 1.2 s, gone with a tap, and not there for whoever wants less motion.
  celebrate() {
    const { body } = this.document;
    const view = this.document.defaultView;
    body.classList.add("fresh");
    view.scrollTo({ top: 0 });
    if (view.matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    // In a frame of its own, after that in which the packet opens.
    view.requestAnimationFrame(() => view.setTimeout(() => this.scatter(), 0));
  }

  scatter() {
    const view = this.document.defaultView;
    view.navigator.vibrate?.(30);
    const pieces = Array.from({ length: CONFETTI }, (_, number) => {
      const piece = this.make("i");
      const turn = (number / CONFETTI) * 2 * Math.PI;
      const far = 7 + (number % 5) * 2;
      if (number % 3 === 0) piece.className = "round";
      piece.style.setProperty("--x", `${Math.cos(turn) * far}rem`);
      piece.style.setProperty("--y", `${Math.sin(turn) * far - 3}rem`);
      piece.style.setProperty("--r", `${number * 77}deg`);
      piece.style.background = COLOURS[number % COLOURS.length];
      return piece;
    });
    const { confetti } = this.element;
    const clear = () => confetti.replaceChildren();
    confetti.replaceChildren(...pieces);
    this.document.addEventListener("pointerdown", clear, { once: true });
    view.setTimeout(clear, 1200);
  }
}
