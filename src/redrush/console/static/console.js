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
  } else if (event.key === "Escape" && document.body.classList.contains("wall")) {
    location.assign("/");
  }
  pressed = event.key;
});

const own = (time) => {
  const at = new Date(time.dateTime);
  if (time.dateTime && !Number.isNaN(at.getTime())) time.title = `${at.toLocaleString()} · UTC ${at.toISOString()}`;
};
document.querySelectorAll("time[datetime]").forEach(own);

// On a narrow screen the page that one is at stands in sight, and a card says what each of its lines is.
const here = document.querySelector(".top nav [aria-current]");
if (here) {
  const nav = here.parentElement;
  nav.scrollLeft = here.offsetLeft - nav.offsetLeft - (nav.clientWidth - here.clientWidth) / 2;
}
for (const table of document.querySelectorAll("table.cards")) {
  const heads = [...table.querySelectorAll("thead th")].map((one) => one.textContent);
  for (const row of table.tBodies[0].rows) {
    for (const [index, cell] of [...row.cells].entries()) {
      if (cell.tagName === "TD" && cell.colSpan === 1) cell.dataset.label = heads[index];
    }
  }
}

// A menu closes when somebody goes on elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.self[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// An answer without what a form asked for (an error, a session that is over, none at all) is shown where the answer
// would stand. What was typed stays; the next answer that has it takes the sentence away.
const tellFault = (ctx, found) => {
  document.getElementById("fault")?.remove();
  const said = document.importNode(found ?? document.getElementById("unheard").content.firstElementChild, true);
  const target = ctx.target?.isConnected ? ctx.target : document.getElementById("main");
  if (ctx.swap?.startsWith("outer")) target.before(said); // the target itself would be the answer
  else target.replaceChildren(said);
  if (ctx.sourceEvent?.type !== "submit") return; // somebody is typing
  said.setAttribute("tabindex", "-1");
  said.scrollIntoView({ block: "center" });
  said.focus({ preventScroll: true });
};

document.addEventListener("htmx:after:request", (event) => {
  const { ctx } = event.detail;
  if (!ctx.select) return;
  const answer = new DOMParser().parseFromString(ctx.text, "text/html");
  if (answer.querySelector(ctx.select)) {
    document.getElementById("fault")?.remove();
    return;
  }
  event.preventDefault();
  tellFault(ctx, answer.getElementById("fault"));
});

document.addEventListener("htmx:error", (event) => {
  if (event.detail.ctx) tellFault(event.detail.ctx, null);
});

// A draft is written over the edition that was seen, and played as it was seen with its lists. One that is kept from here
// is the next to be seen; one request goes at a time, and what waited for it follows it.
document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
  const seen = ctx.sourceElement.elements?.seen;
  if (seen && ctx.request.body?.has("seen")) ctx.request.body.set("seen", seen.value);
});
document.addEventListener("htmx:after:swap", () => {
  const { edition, whole } = document.getElementById("said")?.dataset ?? {};
  if (!edition) return;
  for (const seen of document.querySelectorAll('input[name="seen"]')) seen.value = "whole" in seen.dataset ? whole : edition;
  for (const other of document.querySelectorAll("[data-played]")) other.hidden = other.dataset.played === whole;
});

// What somebody else has written over is nowhere but here.
let settled = false;
document.addEventListener("submit", (event) => {
  if (event.target.closest("#clash")) settled = true;
});
window.addEventListener("beforeunload", (event) => {
  if (!settled && document.querySelector("#clash [name=over]")) event.preventDefault();
});

// What was swapped in is what to look at next.
document.addEventListener("htmx:after:swap", () => {
  const found = document.querySelector("#confirming #confirm");
  if (found) {
    found.setAttribute("tabindex", "-1");
    found.focus();
  }
});

// A message of the validator leads to its line.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-line]");
  const source = document.getElementById("source");
  if (!link || !source) return;
  event.preventDefault();
  const lines = source.value.split("\n");
  const number = Math.min(Number(link.dataset.line), lines.length);
  const start = lines.slice(0, number - 1).join("\n").length + (number > 1 ? 1 : 0);
  source.focus();
  source.setSelectionRange(start, start + lines[number - 1].length);
  source.scrollTop = (source.scrollHeight / lines.length) * Math.max(0, number - 6);
});

// A list goes as it is, in one piece, and says how far it is. A form of a page could carry no file of this length.
const bringing = document.getElementById("bringing");
if (bringing) {
  const [input, button, progress] = ["input", "button", "progress"].map((name) => bringing.querySelector(name));
  const brought = document.getElementById("brought");
  const tell = (text, kind) => {
    const said = document.createElement("p");
    said.className = kind;
    said.textContent = text;
    brought.append(said);
  };
  bringing.hidden = false;
  bringing.addEventListener("submit", (event) => {
    event.preventDefault();
    const [file] = input.files;
    const request = new XMLHttpRequest();
    request.open("PUT", bringing.getAttribute("action") + encodeURIComponent(file.name));
    request.responseType = "json";
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      progress.value = total ? loaded / total : 0;
    });
    request.addEventListener("loadend", () => {
      button.disabled = false;
      progress.hidden = true;
      const told = request.response;
      if (request.status !== 200 || !told) {
        tell(told?.detail ?? brought.dataset.lost, "wrong");
        return;
      }
      tell(`${told.file}: ${told.lines.toLocaleString("en-US")} ${brought.dataset.lines}, SHA-256 ${told.sha256}`, "right");
      for (const problem of told.problems) tell(problem, "wrong");
      document.querySelector("#text form")?.requestSubmit(); // what the validator says now that the list is there
    });
    brought.replaceChildren();
    button.disabled = true;
    progress.value = 0;
    progress.hidden = false;
    request.send(file);
  });
}
