// A service worker that keeps the page for whoever opens it without a network. A bonus: WeChat on iOS has none, and
// nothing rests on it. It answers for the page alone; state, answers and tickets never come by here. What the network
// has goes first, so a new page is taken at once; what is kept stands in for a network that is away, slow or out of order.
const KEPT = "redrush-page";
const PAGE = /^\/(index\.html|c\/[^/]+\/?)?$/;
const PAGES_MAX = 8;
const PATIENCE_MS = 4000;

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(begin()));
addEventListener("fetch", (event) => {
  const { mode, method, url } = event.request;
  const path = new URL(url).pathname;
  if (mode === "navigate" && method === "GET" && PAGE.test(path)) event.respondWith(opened(event, path));
});

// Whoever has opened the page before there was a worker has it kept, too.
async function begin() {
  await registration.navigationPreload?.enable();
  await clients.claim();
  for (const { url } of await clients.matchAll({ type: "window" })) {
    const path = new URL(url).pathname;
    if (PAGE.test(path)) await fetch(path).then((answer) => keep(path, answer)).catch(() => {});
  }
}

async function opened(event, path) {
  const kept = await caches.open(KEPT).then((cache) => cache.match(path)).catch(() => null);
  const fresh = fetched(event, path);
  if (!kept) return fresh;
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS, kept));
  return Promise.race([late, fresh.then((answer) => (answer.status < 500 ? answer : kept), () => kept)]);
}

async function fetched(event, path) {
  const answer = (await event.preloadResponse) || (await fetch(event.request));
  event.waitUntil(keep(path, answer.clone()).catch(() => {}));
  return answer;
}

async function keep(path, answer) {
  if (!answer.ok || answer.redirected || !answer.headers.get("Content-Type")?.startsWith("text/html")) return;
  const cache = await caches.open(KEPT);
  await cache.put(path, answer);
  const paths = await cache.keys();
  await Promise.all(paths.slice(0, -PAGES_MAX).map((old) => cache.delete(old)));
}
