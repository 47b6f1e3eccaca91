// The overview as it goes on: one stream of snapshots, closed while nobody looks; charts with every change drawn on them.
const CAP = 1200;
const columns = ["at_ms", "claims_s", "grants_s", "refused_s", "p50_ms", "p99_ms", "level", "parked", "records_behind_s", "payouts_behind_s", "money_granted", "money_paid"];
const points = Object.fromEntries(columns.map((name) => [name, []]));
let marks = [];
let bounds = []; // when rounds open and close
const charts = [];
const dark = matchMedia("(prefers-color-scheme: dark)");
const language = document.documentElement.lang;
const zone = document.documentElement.dataset.zone;
const format = new Intl.DateTimeFormat(language, { timeStyle: "medium", hourCycle: "h23", timeZone: zone });
const clock = (at) => format.format(new Date(at));

const number = (value, digits) =>
  value === null || value === undefined
    ? "–"
    : value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const say = (element, text) => {
  if (element && element.textContent !== text) element.textContent = text;
};

function add(point) {
  for (const name of columns) {
    points[name].push(point[name] ?? null);
    if (points[name].length > CAP) points[name].shift();
  }
}

function drawMarks(plot) {
  const { ctx, bbox } = plot;
  const lines = (instants, name, dash) => {
    ctx.strokeStyle = colour(name);
    ctx.setLineDash(dash);
    for (const at of instants) {
      const x = plot.valToPos(at / 1000, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
  };
  ctx.save();
  lines(bounds, "--good", [1, 2]);
  lines(marks.map((mark) => Date.parse(mark.at)), "--mark", [4, 3]);
  ctx.restore();
}

function makeChart(figure) {
  const plot = figure.querySelector(".plot");
  const series = figure.dataset.series.split("|").map((one) => one.split(":"));
  const axis = () => ({ stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } });
  const twoScales = figure.dataset.chart === "load";
  const options = {
    width: Math.max(240, plot.clientWidth),
    height: document.body.classList.contains("wall") ? 240 : 170,
    legend: { live: false },
    cursor: { drag: { x: false, y: false } },
    scales: { x: { time: true }, y: { range: (_u, _min, max) => [0, Math.max(max ?? 0, 1) * 1.08] } },
    series: [
      {},
      ...series.map(([, label], index) => ({
        label,
        stroke: colour(`--s${index + 1}`),
        width: 2,
        scale: twoScales && index === 1 ? "second" : "y",
        spanGaps: false,
        points: { show: false },
      })),
    ],
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), zone),
    axes: [{ ...axis(), space: 76, values: (_u, ticks) => ticks.map((tick) => clock(tick * 1000)) }, { ...axis(), size: 56, values: (_u, ticks) => ticks.map((tick) => number(tick, tick < 10 && tick % 1 ? 1 : 0)) }],
    hooks: { draw: [drawMarks] },
  };
  if (twoScales) {
    options.scales.second = { range: (_u, _min, max) => [0, Math.max(max ?? 0, 1) * 1.08] };
    options.axes.push({ ...axis(), scale: "second", side: 1, size: 50, grid: { show: false } });
  }
  const data = () => [points.at_ms.map((at) => at / 1000), ...series.map(([key]) => points[key])];
  const chart = { figure, series, data, digits: figure.dataset.chart === "money" ? 2 : 1, plot: new uPlot(options, data(), plot) };
  new ResizeObserver(() => chart.plot.setSize({ width: Math.max(240, plot.clientWidth), height: options.height })).observe(plot);
  figure.querySelector("details").addEventListener("toggle", () => fillTable(chart));
  return chart;
}

function remake() {
  for (const chart of charts.splice(0)) {
    chart.plot.destroy();
  }
  for (const figure of document.querySelectorAll("[data-chart]")) charts.push(makeChart(figure));
}

function fillTable(chart) {
  if (!chart.figure.querySelector("details").open) return;
  const rows = [];
  for (let index = points.at_ms.length - 1; index >= 0 && rows.length < 30; index -= 1) {
    const row = document.createElement("tr");
    const at = document.createElement("td");
    at.textContent = clock(points.at_ms[index]);
    row.append(at);
    for (const [key] of chart.series) {
      const cell = document.createElement("td");
      cell.className = "n";
      cell.textContent = number(points[key][index], chart.digits);
      row.append(cell);
    }
    rows.push(row);
  }
  chart.figure.querySelector("tbody").replaceChildren(...rows);
}

function draw() {
  for (const chart of charts) {
    chart.plot.setData(chart.data());
    const now = chart.series.map(([key, label]) => `${label} ${number(points[key].at(-1), chart.digits)}`);
    say(chart.figure.querySelector(".said"), `${now.join(", ")} ${chart.figure.dataset.unit}`);
    fillTable(chart);
  }
}

function showCampaign(campaign) {
  const element = document.querySelector(`[data-campaign-figures="${CSS.escape(campaign.id)}"]`);
  if (!element) return;
  const showIn = (output, text) => {
    say(output, text ?? "–");
    output.closest("div").hidden = text === undefined || text === null;
  };
  for (const output of element.querySelectorAll("[data-money]")) showIn(output, campaign.money?.[output.dataset.money]);
  for (const output of element.querySelectorAll("[data-currency]")) say(output, campaign.money?.currency ?? "");
  for (const output of element.querySelectorAll("[data-lag]")) {
    const lag = campaign.lags[output.dataset.lag];
    say(output, number(lag, Number(output.dataset.digits)));
    if (output.dataset.lag.startsWith("payouts")) output.closest("div").hidden = lag === undefined || lag === null;
  }
}

function showLine(element, line) {
  if (!line) return;
  for (const output of element.querySelectorAll("[data-line]")) say(output, number(line[output.dataset.line], 0));
  const paused = element.querySelector("[data-line-paused]");
  if (!paused) return;
  paused.hidden = !line.paused;
  element.querySelector("[data-line-closed]").hidden = !line.closed;
  element.querySelector(".line-state").hidden = !(line.paused || line.closed);
}

function showRound(campaign, round) {
  const element = document.querySelector(`[data-round="${CSS.escape(`${campaign}/${round.round}`)}"]`);
  const pot = element?.querySelector(`[data-pot="${CSS.escape(`${campaign}/${round.pot}`)}"]`);
  if (!pot) return false;
  const within = (place, name, value) => say(place.querySelector(`[data-cell="${name}"]`), number(value, 0));
  const cell = (name, value) => within(pot, name, value);
  within(element, "claims_s", round.claims_s); // of the whole round: nobody asks for one prize of a draw
  within(element, "grants_s", round.grants_s);
  within(element, "release_per_s", round.release_per_s);
  showLine(element, round.line);
  const money = pot.querySelector(".money");
  say(money.querySelector("output"), round.money_granted ?? "–");
  money.hidden = round.money_granted === undefined || round.money_granted === null;
  for (const [outcome, count] of Object.entries(round.outcomes ?? {})) {
    const output = element.querySelector(`[data-outcome="${CSS.escape(outcome)}"]`);
    if (output) {
      say(output, number(count, 0));
      output.closest("div").classList.toggle("none", !count);
    }
  }
  if (round.slots !== undefined) {
    const total = round.slots + round.joined;
    cell("total", total);
    for (const name of ["granted", "held", "in_play", "moved", "returned", "on_the_way"]) cell(name, round[name]);
    const way = pot.querySelector(".way");
    if (way) way.hidden = !round.on_the_way;
    const meter = pot.querySelector("meter");
    if (meter) {
      meter.max = Math.max(1, total);
      meter.value = round.granted + round.held;
    }
  }
  return true;
}

function showBanners(glass) {
  const banners = document.getElementById("banners");
  const known = new Set([...banners.querySelectorAll("time")].map((one) => one.dateTime));
  for (const one of glass.filter((each) => !known.has(each.at))) {
    const banner = document.createElement("p");
    banner.className = "banner alarm";
    const time = document.createElement("time");
    time.dateTime = one.at;
    time.textContent = clock(one.at);
    banner.append(`${one.who}: ${one.what} — ${one.why} `, time);
    banners.append(banner);
  }
}

function showMarks() {
  const list = document.getElementById("marks");
  if (!list) return;
  const words = JSON.parse(list.dataset.words);
  const rows = marks.slice(-8).reverse().map((mark) => {
    const row = document.createElement("li");
    const time = document.createElement("time");
    time.dateTime = mark.at;
    time.textContent = clock(mark.at);
    row.append(time, `${mark.who}: ${words[mark.action] ?? mark.action} ${mark.about}`);
    return row;
  });
  list.replaceChildren(...rows);
}

function showHot(hot) {
  if (!hot.length) return; // what was asked most stays until something is asked again
  const rows = hot.map((one) => {
    const row = document.createElement("li");
    const rate = document.createElement("strong");
    rate.textContent = number(one.claims_s, 0);
    row.append(`${one.campaign} / ${one.round} `, rate, "/s");
    return row;
  });
  document.getElementById("hot").replaceChildren(...rows);
}

function show({ now, marks: latest, glass }) {
  say(document.getElementById("at"), clock(now.at));
  document.getElementById("pulse").classList.remove("late");
  document.getElementById("away").hidden = !now.away;
  say(document.getElementById("away-why"), now.away ?? "");
  for (const output of document.querySelectorAll("[data-figure]")) {
    say(output, number(now.figures[output.dataset.figure], Number(output.dataset.digits)));
  }
  document.getElementById("tile-problems")?.classList.toggle("bad", (now.figures.problems ?? 0) > 0);
  let known = true;
  for (const campaign of now.campaigns) {
    showCampaign(campaign);
    for (const round of campaign.rounds) known = showRound(campaign.id, round) && known;
  }
  const rounds = now.campaigns.flatMap((campaign) => campaign.rounds);
  bounds = rounds.flatMap((round) => [Date.parse(round.opens_at), Date.parse(round.closes_at)]);
  if (!known && !now.away) location.reload(); // a campaign or a round came: the page is made anew
  const seen = new Set(marks.map((mark) => mark.version));
  marks = [...marks, ...latest.filter((mark) => !seen.has(mark.version))].slice(-200);
  showBanners(glass);
  showMarks();
  showHot(now.hot);
  add({ at_ms: now.at_ms, ...now.figures });
  draw();
}

let source = null;
function look() {
  if (source) return;
  source = new EventSource("/api/v1/live/stream");
  source.addEventListener("live", (event) => show(JSON.parse(event.data)));
  source.addEventListener("error", () => document.getElementById("pulse").classList.add("late"));
}
function rest() {
  source?.close();
  source = null;
}

async function begin() {
  const answer = await fetch("/api/v1/live/history");
  if (answer.ok) {
    const told = await answer.json();
    for (const row of told.points) add(Object.fromEntries(told.columns.map((name, index) => [name, row[index]])));
    marks = told.marks;
  }
  remake();
  draw();
  showMarks();
  if (!document.hidden) look();
  document.addEventListener("visibilitychange", () => (document.hidden ? rest() : look()));
  addEventListener("pagehide", rest);
  dark.addEventListener("change", remake);
}
begin();
