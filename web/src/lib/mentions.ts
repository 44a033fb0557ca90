// Who a text mentions: @username of people in the chat, and @all.
import { fold } from "./format.ts";

const at = /(^|[^\p{L}\p{N}_])@([a-z0-9][a-z0-9._-]{0,31})/giu;

/** The ids that a text mentions; everybody: "@all" stands in it. */
export function mentionsIn(text: string, idOf: (username: string) => string | undefined): { ids: string[]; all: boolean } {
  const ids = new Set<string>();
  let all = false;
  // What stands in code is no mention.
  const said = text.replace(/```[\s\S]*?(?:```|$)|`[^`\n]*`/g, " ");
  for (const m of said.matchAll(at)) {
    const name = m[2]!.toLowerCase();
    const bare = name.replace(/[._-]+$/, ""); // a full stop behind a name is the sentence's
    if (bare === "all") all = true;
    const id = idOf(name) ?? idOf(bare);
    if (id && ids.size < 50) ids.add(id);
  }
  return { ids: [...ids], all };
}

/** The word that is being written at a place, when it begins with @: a username's beginning, or a name's, folded. */
export function wordAt(text: string, caret: number): { from: number; prefix: string } | null {
  const m = /(?:^|[^\p{L}\p{N}_])@([\p{L}\p{N}\p{M}._-]{0,32})$/u.exec(text.slice(Math.max(0, caret - 40), caret));
  return m ? { from: caret - m[1]!.length - 1, prefix: fold(m[1]!) } : null;
}
