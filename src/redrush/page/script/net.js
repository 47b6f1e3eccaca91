// Asking a server: every answer is one of {status, headers, body}, or Unreached. Nothing is decided here.

export class Unreached extends Error {}

const PROBLEM = "application/problem+json";

export class Net {
  constructor(view) {
    this.view = view;
    this.underWay = new Set();
  }

  // `deadline` in seconds is for the whole answer. A body that is no JSON object is none of the contract.
  async ask(url, { method = "GET", ticket = null, body = null, deadline = 8, cache = "no-store", credentials = "omit" } = {}) {
    const stop = new AbortController();
    const timer = this.view.setTimeout(() => stop.abort(), deadline * 1000);
    this.underWay.add(stop);
    const headers = {};
    const sent = this.view.performance.now();
    if (ticket) headers.Authorization = `Bearer ${ticket}`;
    if (body !== null) headers["Content-Type"] = "application/json";
    try {
      const answer = await this.view.fetch(url, {
        method,
        headers,
        body: body === null ? undefined : JSON.stringify(body),
        cache,
        credentials,
        redirect: "error",
        signal: stop.signal,
      });
      const here = this.view.performance.now();
      const text = await answer.text();
      const at = firstByteAt(this.view, answer.url, sent, here);
      const read = parsed(text);
      const ours = answer.ok ? read !== null : (answer.headers.get("Content-Type") || "").startsWith(PROBLEM);
      return { status: answer.status, headers: answer.headers, body: read || {}, at, ours };
    } catch {
      throw new Unreached(stop.signal.aborted ? "no answer in time" : "no connection");
    } finally {
      this.view.clearTimeout(timer);
      this.underWay.delete(stop);
    }
  }

  // A page that is put away must have nothing under way: it would not be kept for the way back.
  abort() {
    for (const stop of this.underWay) stop.abort();
  }
}

// When the first byte of an answer was here, on the page's monotonic clock, which is between `sent` and `here`. The
// browser's own note of it may come later than the answer; one of an earlier request to the same address would make the
// page's clock run ahead.
function firstByteAt(view, url, sent, here) {
  const notes = view.performance.getEntriesByName ? view.performance.getEntriesByName(url, "resource") : [];
  view.performance.clearResourceTimings?.(); // a page that waits for days would fill the buffer
  const note = notes.find(({ startTime, responseStart }) => startTime >= sent && responseStart > 0);
  return note && note.responseStart <= here ? note.responseStart : here;
}

function parsed(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

// `Retry-After` in seconds; a date is not taken, for clocks differ.
export function retryAfter(headers) {
  const value = headers.get("Retry-After");
  return value !== null && /^\d{1,6}$/.test(value) ? Number(value) : null;
}
