// What this device is set to: its look, and whether it shows notifications.
import { keep, kept } from "./device.ts";

type Theme = "system" | "light" | "dark";

const dark = matchMedia("(prefers-color-scheme: dark)");

class Settings {
  theme = $state<Theme>((kept("grima.theme") as Theme) || "system");
  notify = $state(kept("grima.notify") === "1");

  setTheme(theme: Theme): void {
    this.theme = theme;
    keep("grima.theme", theme);
    this.apply();
  }

  setNotify(on: boolean): void {
    this.notify = on;
    keep("grima.notify", on ? "1" : "");
  }

  apply(): void {
    const theme = this.theme === "system" ? (dark.matches ? "dark" : "light") : this.theme;
    document.documentElement.dataset.theme = theme;
  }
}

export const settings = new Settings();
dark.addEventListener("change", () => settings.apply());

/** Forgets what was one person's. The look is the device's. */
export function forgetSettings(): void {
  settings.setNotify(false);
}
