// The service worker: keeps the page itself, so that it opens without a
// connection. It never touches what the server says under /v1: that is the
// SDK's to keep, per account.
const sw = self as unknown as ServiceWorkerGlobalScope;

const version: string = "__VERSION__";
const cacheName = "grima-shell-" + version;
const assets = ("__SHELL__" as string).split(" ").filter(Boolean);

sw.addEventListener("install", (event) => {
  event.waitUntil(
    caches.open(cacheName).then((c) => c.addAll(["/index.html", "/manifest.webmanifest", "/icon.svg", ...assets])),
  );
});

sw.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) {
        if (name.startsWith("grima-shell-") && name !== cacheName) await caches.delete(name);
      }
      await sw.clients.claim();
    })(),
  );
});

// A new version waits until the page says so: no tab gets scripts of another
// version than its own.
sw.addEventListener("message", (event) => {
  if (event.data === "activate") void sw.skipWaiting();
});

sw.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== sw.location.origin) return;
  if (url.pathname.startsWith("/assets/")) {
    // Their names have their hashes: what is kept is right.
    event.respondWith(caches.match(event.request).then((kept) => kept ?? fetch(event.request)));
    return;
  }
  if (event.request.mode === "navigate" && !url.pathname.startsWith("/v1/")) {
    event.respondWith(page(event.request));
  }
});

// The server's page when it answers, the kept one when it does not: all
// addresses of the app have the same page.
async function page(request: Request): Promise<Response> {
  try {
    const answer = await fetch(request);
    if (answer.status < 500) return answer;
  } catch {
    // no connection
  }
  return (await caches.match("/index.html")) ?? Response.error();
}
