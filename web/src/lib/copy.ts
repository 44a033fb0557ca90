/** Puts a text on the clipboard; false if the browser does not let us. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages that are not in TLS have no clipboard but this one.
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "sr";
    const focus = document.activeElement;
    document.body.append(area);
    area.select();
    const ok = document.execCommand("copy");
    area.remove();
    if (focus instanceof HTMLElement) focus.focus();
    return ok;
  }
}
