// In the place of the service worker where there is to be none any more: takes away what was kept, and itself.
addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(caches.delete("redrush-page").then(() => registration.unregister())));
