// A ticket signed with a login key, in Node.js 18 or newer, with nothing installed.
//   node ticket.mjs login-company.json alice 1900000000
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

// Letters, digits and _ . : @ - stand for themselves, every other byte of the UTF-8 is %XX.
function escaped(user) {
  return Array.from(Buffer.from(user.normalize("NFC"), "utf8"), (byte) =>
    /[A-Za-z0-9_.:@-]/.test(String.fromCharCode(byte))
      ? String.fromCharCode(byte)
      : "%" + byte.toString(16).toUpperCase().padStart(2, "0"),
  ).join("");
}

export function ticket(loginKey, user, expiresSeconds) {
  const body = `${loginKey.id}.${expiresSeconds.toString(16)}.${escaped(user)}`;
  const mac = createHmac("sha256", Buffer.from(loginKey.key, "base64")).update(body).digest("hex");
  return `${body}.${mac.slice(0, 32)}`;
}

const [file, user, expires] = process.argv.slice(2);
console.log(ticket(JSON.parse(readFileSync(file, "utf8")), user, Number(expires)));
