// What every page has besides its forms: keys, and times of the reader's own zone beside the campaign's.
const help = document.getElementById("help");
const places = { o: "/", s: "/steer", w: "/waiting", a: "/audit", p: "/proof", f: "/fleet" };
let pressed = "";

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "?" && help && !help.open) {
    help.showModal();
  } else if (pressed === "g" && places[event.key]) {
    location.assign(places[event.key]);
  }
  pressed = event.key;
});

const own = (time) => {
  const at = new Date(time.dateTime);
  if (time.dateTime && !Number.isNaN(at.getTime())) time.title = `${at.toLocaleString()} · UTC ${at.toISOString()}`;
};
document.querySelectorAll("time[datetime]").forEach(own);

// A menu closes when somebody goes on elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.self[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// What was swapped in is what to look at next.
document.addEventListener("htmx:after:swap", () => {
  const found = document.querySelector("#confirming #confirm");
  if (found) {
    found.setAttribute("tabindex", "-1");
    found.focus();
  }
});
