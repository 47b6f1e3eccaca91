// A packet for others: wished for, paid, and its link handed out. Its name is made here, so asking again is the same one.
import { Unreached } from "./net.js";

const LOOKS = 20;
const LOOK_MS = 700;

export async function sendPacket({ net, base, ticket, view, wish }) {
  const request = view.crypto.randomUUID?.() ?? String(view.Math.random()).slice(2);
  const ask = async (path, method, body = null) => {
    for (let tries = 0; ; tries += 1) {
      try {
        const answer = await net.ask(`${base}${path}`, { method, ticket, body });
        if (answer.status < 500 || tries === 2) return answer;
      } catch (fault) {
        if (!(fault instanceof Unreached) || tries === 2) throw fault;
      }
      await new Promise((resolve) => view.setTimeout(resolve, LOOK_MS * (1 + tries)));
    }
  };
  const wanted = { ...wish, count: Number(wish.count), request };
  for (const name of ["word", "greeting"]) if (!wanted[name]) delete wanted[name];
  try {
    const made = await ask("/packets", "POST", wanted);
    if (made.status >= 300) return { outcome: "send_failed", why: made.body.detail || made.status };
    for (let look = 0; look < LOOKS; look += 1) {
      const told = await ask(`/packets/${made.body.id}`, "GET");
      if (told.body.state === "open") return { outcome: "send_done", id: made.body.id };
      if (look === LOOKS - 1) return { outcome: "send_unpaid", why: told.body.pay?.detail || told.body.state };
      await new Promise((resolve) => view.setTimeout(resolve, LOOK_MS));
    }
  } catch (fault) {
    if (!(fault instanceof Unreached)) throw fault;
  }
  return { outcome: "send_failed", why: "…" };
}
