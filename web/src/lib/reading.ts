// Who has read what, in groups small enough for the server to tell
// (docs/protocol.md#ephemera).
import type { Row } from "./rows.ts";

/** Of larger groups read marks are not told, and what is known would be old. */
export const maxMarked = 50;

const none: readonly string[] = [];

/**
 * Under which rows whose marks stand: by the row's key, the people whose mark has
 * come to that message and no further. Who writes has read what is above, and a
 * message of one's own says nothing. Marks above the rows that are held are left
 * out.
 */
export function placeMarks(rows: readonly Row[], reads: ReadonlyMap<string, number>): Map<string, string[]> {
  const at = new Map<string, string[]>();
  if (!reads.size) return at;
  const sent = rows.filter((r) => r.msg.seq > 0);
  const spoke = new Map<string, number>();
  for (const r of sent) spoke.set(r.msg.senderId, r.msg.seq);
  for (const [id, read] of reads) {
    const seq = Math.max(read, spoke.get(id) ?? 0);
    let i = sent.length - 1;
    while (i >= 0 && sent[i]!.msg.seq > seq) i--;
    const row = sent[i];
    if (!row || row.msg.senderId === id) continue;
    const list = at.get(row.key);
    if (list) list.push(id);
    else at.set(row.key, [id]);
  }
  return at;
}

/** What placeMarks says of a row; the same list for nobody. */
export const marksOf = (at: ReadonlyMap<string, string[]>, key: string): readonly string[] => at.get(key) ?? none;
