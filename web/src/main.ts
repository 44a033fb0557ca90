import { mount } from "svelte";
import "./app.css";
import App from "./App.svelte";
import { app } from "./lib/app.svelte.ts";
import { t } from "./lib/strings.ts";
import { settings } from "./lib/theme.svelte.ts";
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
    const ready = (worker: ServiceWorker | null) => {
      if (worker && navigator.serviceWorker.controller) {
        worker.postMessage("activate");
        app.updateReady = true;
      }
    };
    if (reg.waiting) ready(reg.waiting);
    reg.addEventListener("updatefound", () => {
      const worker = reg.installing;
      worker?.addEventListener("statechange", () => {
        if (worker.state === "installed") ready(worker);
      });
    });
  } catch {
    // Private windows have none; the page works without.
  }
}
