// Proof of work for a ticket, in a worker so that the page stays alive. docs/tickets.md says what is asked and why.
import { Unreached, retryAfter } from "./net.js";
import { beside } from "./workers.js";

const TRIES = 6;

// Looks for the number, telling how far it is. Runs in the worker: it may use nothing of this page.
function search() {
  self.onmessage = async ({ data: { challenge, maxnumber, salt } }) => {
    const encoder = new TextEncoder();
    const wanted = challenge.toLowerCase();
    for (let number = 0; number <= maxnumber; number += 1) {
      const digest = await crypto.subtle.digest("SHA-256", encoder.encode(salt + number));
      const bytes = new Uint8Array(digest);
      let hex = "";
      for (const byte of bytes) hex += (byte < 16 ? "0" : "") + byte.toString(16);
      if (hex === wanted) {
        self.postMessage({ number });
        return;
      }
      if (number % 2000 === 0) self.postMessage({ percent: Math.floor((100 * number) / maxnumber) });
    }
    self.postMessage({ number: null });
  };
}

function solved(view, challenge, progress) {
  return new Promise((resolve, reject) => {
    const told = (data, end) => {
      if (!("number" in data)) {
        progress(data.percent);
        return;
      }
      end();
      resolve(data.number);
    };
    beside(view, `(${search})()`, challenge, told, () => reject(new Unreached("no worker")));
  });
}

// Returns the proven ticket, or null if none can be had now.
export async function prove({ net, base, ticket, view, progress }) {
  for (let tries = 0; tries < TRIES; tries += 1) {
    let pause = 1000 + Math.random() * 2000 * 2 ** tries;
    try {
      const asked = await net.ask(`${base}/challenge`, { ticket });
      if (asked.status === 200 && asked.ours) {
        const { algorithm, challenge, salt, signature } = asked.body;
        progress(0);
        const number = await solved(view, asked.body, progress);
        progress(100);
        const altcha = view.btoa(JSON.stringify({ algorithm, challenge, number, salt, signature }));
        const given = await net.ask(`${base}/ticket`, { method: "POST", ticket, body: { altcha } });
        if (given.status === 200 && given.ours) return given.body.ticket;
        pause = Math.max(pause, (retryAfter(given.headers) || 0) * 1000);
      } else if (asked.status === 401) return null;
      else pause = Math.max(pause, (retryAfter(asked.headers) || 0) * 1000);
    } catch (fault) {
      if (!(fault instanceof Unreached)) throw fault;
    }
    await new Promise((resolve) => view.setTimeout(resolve, pause));
  }
  return null;
}
