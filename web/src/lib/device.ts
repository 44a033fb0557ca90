// What this device keeps of the page in localStorage, where there is one: a browser
// may have none, or none for us. Nothing of it is a secret.

/** What is kept under a key; "": nothing. */
export function kept(key: string): string {
  try {
    return localStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

/** Keeps value, where that is possible. */
export function keep(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // then it holds until the page is closed
  }
}

/** Keeps nothing under a key any more. */
export function unkeep(key: string): void {
  try {
    localStorage.removeItem(key);
  } catch {
    // it could not be kept either
  }
}
