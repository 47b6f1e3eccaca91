// A packet for others: wished for, paid, and its link handed out. Its name is made here, so asking again is the same one.
import { Unreached } from "./net.js";
import { howHere, waysToPay } from "./till.js";

const LOOKS_BALANCE = 20;
const LOOKS_PROVIDER = 300;
const LOOK_MS = 700;
const LOOK_PROVIDER_MS = 2000;
const ASKED_EVERY = 5;

export class Sending {
  // `tell(path, method, body)` asks a gate; `shown({url} | {fields} | {code} | null)` hears how the packet is to be paid, where it is
  // not from the balance.
  constructor({ tell, view, shown }) {
    Object.assign(this, { tell, view, shown, id: null });
  }

  // Returns {outcome, id, refused}: `refused` is the answer that says why not, null if there was none.
  async send(wish) {
    const request = this.view.crypto.randomUUID?.() ?? String(this.view.Math.random()).slice(2);
    const wanted = { ...wish, count: Number(wish.count), request, how: howHere(this.view) };
    for (const name of ["word", "greeting"]) if (!wanted[name]) delete wanted[name];
    try {
      const made = await this.ask("/packets", "POST", wanted);
      if (made.status >= 300) return { outcome: "send_failed", refused: made };
      this.id = made.body.id;
      return await this.paid(made.body.pay);
    } catch (fault) {
      if (!(fault instanceof Unreached)) throw fault;
      return { outcome: this.id ? "send_unpaid" : "send_failed", refused: null };
    } finally {
      this.shown(null);
    }
  }

  // Wait until it is paid: from the balance that is a moment, at a provider it is up to its person.
  async paid(pay) {
    const byProvider = pay && pay.from !== "balance";
    let [shown, refused] = [null, null];
    for (let look = 0; look < (byProvider ? LOOKS_PROVIDER : LOOKS_BALANCE); look += 1) {
      const how = pay?.with;
      const [, kind, payload] = /^(\w+):(.*)$/s.exec(how) ?? [];
      if (payload && how !== shown) this.shown(waysToPay({ kind, payload }, this.view));
      shown = how;
      const asks = byProvider && (!how || look % ASKED_EVERY === ASKED_EVERY - 1);
      const told = asks ? await this.ask(`/packets/${this.id}/pay`, "POST", { how: howHere(this.view) }) : await this.ask(`/packets/${this.id}`, "GET");
      if (told.body.state === "open") return { outcome: "send_done", id: this.id };
      if (["cancelled", "closed"].includes(told.body.state)) return { outcome: "send_cancelled" };
      if (told.body.pay?.with) pay = told.body.pay;
      if (told.status >= 300) refused = told;
      await new Promise((resolve) => this.view.setTimeout(resolve, byProvider ? LOOK_PROVIDER_MS : LOOK_MS));
    }
    if (!byProvider) refused = await this.ask(`/packets/${this.id}/pay`, "POST"); // it says what is missing
    return refused?.body.state === "open" ? { outcome: "send_done", id: this.id } : { outcome: "send_unpaid", refused };
  }

  // Nobody pays it: closed at the provider, and open to nobody ever. May be Unreached.
  cancel() {
    return this.ask(`/packets/${this.id}`, "DELETE");
  }

  async ask(path, method, body = null) {
    for (let tries = 0; ; tries += 1) {
      try {
        const answer = await this.tell(path, method, body);
        if (answer.status < 500 || tries === 2) return answer;
      } catch (fault) {
        if (!(fault instanceof Unreached) || tries === 2) throw fault;
      }
      await new Promise((resolve) => this.view.setTimeout(resolve, LOOK_MS * (1 + tries)));
    }
  }
}
