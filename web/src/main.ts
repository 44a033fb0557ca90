import { mount } from "svelte";
import "./app.css";
import App from "./App.svelte";
import { app } from "./lib/app.svelte.ts";
import { t } from "./lib/strings.ts";
import { settings } from "./lib/settings.svelte.ts";
import { workerURL } from "./lib/trusted.ts";

document.documentElement.lang = t.lang;
settings.apply();
mount(App, { target: document.getElementById("app")! });
void app.start();

if ("serviceWorker" in navigator && import.meta.env.PROD) {
  void register();
}

async function register(): Promise<void> {
  try {
    const reg = await navigator.serviceWorker.register(workerURL);
    const script = new URL(import.meta.url).pathname;
    // A version that waits is offered, unless it is this page's own.
    const ready = (worker: ServiceWorker | null) => {
      if (!worker || !navigator.serviceWorker.controller) return;
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = (e) => {
        if (!e.data) app.update = () => change(worker);
      };
      worker.postMessage({ script, activate: false }, [port2]);
    };
    const change = (worker: ServiceWorker) => {
      const reload = () => location.reload();
      if (worker.state === "activated") return reload();
      worker.addEventListener("statechange", reload);
      worker.postMessage({ script, activate: true });
    };
    ready(reg.waiting);
    reg.addEventListener("updatefound", () => {
      const worker = reg.installing;
      worker?.addEventListener("statechange", () => {
        if (worker.state === "installed") ready(worker);
      });
    });
    // A server that is back may be a new one.
    app.onback = () => void reg.update().catch(() => undefined); // the next time will do
  } catch {
    // Private windows have none; the page works without.
  }
}
