// What this device is set to: its look, and whether it shows notifications. Kept in
// localStorage, which has nothing else and no secret.
type Theme = "system" | "light" | "dark";

const dark = matchMedia("(prefers-color-scheme: dark)");

function get(key: string): string {
  try {
    return localStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

class Settings {
  theme = $state<Theme>((get("grima.theme") as Theme) || "system");
  notify = $state(get("grima.notify") === "1");

  setTheme(theme: Theme): void {
    this.theme = theme;
    this.#put("grima.theme", theme);
    this.apply();
  }

  setNotify(on: boolean): void {
    this.notify = on;
    this.#put("grima.notify", on ? "1" : "");
  }

  apply(): void {
    const theme = this.theme === "system" ? (dark.matches ? "dark" : "light") : this.theme;
    document.documentElement.dataset.theme = theme;
  }

  #put(key: string, value: string): void {
    try {
      localStorage.setItem(key, value);
    } catch {
      // then it holds until the page is closed
    }
  }
}

export const settings = new Settings();
dark.addEventListener("change", () => settings.apply());

/** Forgets what was one person's. The look is the device's. */
export function forgetSettings(): void {
  settings.setNotify(false);
}
