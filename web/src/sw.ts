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
      // The version before stays: a tab that still shows it loads the rest of it
      // from here, as the server has it no more.
      const names = (await caches.keys()).filter((name) => name.startsWith("grima-shell-"));
      const before = names[names.indexOf(cacheName) - 1];
      for (const name of names) if (name !== cacheName && name !== before) await caches.delete(name);
      await sw.clients.claim();
    })(),
  );
});

// A new version waits until a page says so, or until there is a page of it. The
// answer says whether it is the asking page's.
sw.addEventListener("message", (event) => {
  const { script, activate } = event.data as { script: string; activate: boolean };
  const same = assets.includes(script);
  if (same || activate) void sw.skipWaiting();
  event.ports[0]?.postMessage(same);
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
  return (await (await caches.open(cacheName)).match("/index.html")) ?? Response.error();
}
