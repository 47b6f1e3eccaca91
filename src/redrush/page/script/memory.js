// What the page keeps on this device: the ticket, what was won, and what its person has chosen. All of it may be gone at
// any time, and a browser may refuse to keep anything: then it lasts as long as the page.

const TICKET = /^[\w-]{1,16}(\+?)\.([0-9a-f]{1,16})\.(.+)\.[0-9a-f]{32}$/;

export class Memory {
  constructor(campaign, storage) {
    this.prefix = `redrush:${campaign}:`;
    this.storage = storage;
    this.own = new Map();
  }

  get(name) {
    try {
      const kept = this.storage.getItem(this.prefix + name);
      if (kept !== null) return JSON.parse(kept);
    } catch {
      // refused, or not ours
    }
    return this.own.get(name) ?? null;
  }

  set(name, value) {
    this.own.set(name, value);
    try {
      this.storage.setItem(this.prefix + name, JSON.stringify(value));
    } catch {
      // full, or refused
    }
  }

  // Whether a change that another tab has made is about this campaign.
  concerns(event) {
    return event.key === null || event.key.startsWith(this.prefix);
  }
}

// Who a ticket is for, and until when it is good (seconds since the epoch). It is not verified here: a gate does that.
// Null for what is no whole ticket, as a link that was cut short has it.
export function readTicket(ticket) {
  const [, mark, expires, user] = TICKET.exec(ticket || "") || [];
  return user ? { user, expires: parseInt(expires, 16), proven: mark === "+" } : null;
}

// Take the ticket out of the address, where it would be seen, kept in histories and sent along: "#ticket=…", or a cookie
// `redrush_ticket` of the site that the page stands on.
export function ticketAtTheDoor(location, history, cookies) {
  const parts = location.hash.slice(1).split("&");
  const found = parts.find((part) => part.startsWith("ticket="));
  if (found) {
    const rest = parts.filter((part) => part !== found).join("&");
    history.replaceState(history.state, "", location.pathname + location.search + (rest ? `#${rest}` : ""));
    return decoded(found.slice("ticket=".length));
  }
  const cookie = /(?:^|;\s*)redrush_ticket=([^;]+)/.exec(cookies);
  return cookie ? decoded(cookie[1]) : null;
}

// A ticket has signs of its own that are escaped as in an address; it may stand there as it is, or escaped once more.
function decoded(text) {
  try {
    const once = decodeURIComponent(text);
    return /^[\x21-\x7e]+$/.test(once) ? once : text;
  } catch {
    return text;
  }
}
