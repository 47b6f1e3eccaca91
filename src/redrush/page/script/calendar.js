// A reminder for the opening as a calendar file (RFC 5545), made here: nobody's address is kept for it.

const stamp = (ms) => new Date(ms).toISOString().replace(/[-:]|\.\d{3}/g, "");
const escaped = (text) => text.replace(/[\\;,]/g, "\\$&").replace(/\n/g, "\\n");

export function calendarFile({ uid, name, url, opens, closes, now }) {
  return [
    "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//redrush//page//EN", "BEGIN:VEVENT",
    `UID:${uid}`, `DTSTAMP:${stamp(now)}`, `DTSTART:${stamp(opens)}`, `DTEND:${stamp(Math.max(closes, opens + 60000))}`,
    `SUMMARY:${escaped(name)}`, `URL:${url}`,
    "BEGIN:VALARM", "ACTION:DISPLAY", `DESCRIPTION:${escaped(name)}`, "TRIGGER:-PT5M", "END:VALARM",
    "END:VEVENT", "END:VCALENDAR", "",
  ].join("\r\n");
}
