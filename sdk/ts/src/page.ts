// What a browser says of the page and the network. Elsewhere there is no page.

type Listeners = Record<string, () => void>;

/** Listens to events of the window and of the document, until what it gives is called. */
export function listen(ofWindow: Listeners, ofDocument: Listeners): () => void {
  const w = globalThis as { addEventListener?: typeof addEventListener; removeEventListener?: typeof removeEventListener; document?: Document };
  const doc = w.document;
  if (!w.addEventListener || !w.removeEventListener || !doc) return () => undefined;
  for (const [name, f] of Object.entries(ofWindow)) w.addEventListener(name, f);
  for (const [name, f] of Object.entries(ofDocument)) doc.addEventListener(name, f);
  return () => {
    for (const [name, f] of Object.entries(ofWindow)) w.removeEventListener!(name, f);
    for (const [name, f] of Object.entries(ofDocument)) doc.removeEventListener(name, f);
  };
}

/** Whether somebody may look at this page. */
export function visible(): boolean {
  const doc = (globalThis as { document?: { visibilityState: string } }).document;
  return !doc || doc.visibilityState === "visible";
}
