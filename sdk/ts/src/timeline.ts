import { GrimaError } from "./errors.js";
import { limits, type Message, type MessagesListParams, type MessagesListResult } from "./protocol.gen.js";
import { addRange, hasPosition, rangeAround, type Range, type Ranges } from "./ranges.js";
import type { Event } from "./types.js";

/** The rows that are kept only to be newer than those of a page that is under way. */
const maxLoose = 512;

/**
 * The messages of one chat that a program has seen: what a window shows. It knows
 * which ranges of the history it holds, since a window holds the last page and not
 * everything (docs/protocol.md#resume), and never takes an old row for a new one,
 * in whatever order pages and events come.
 */
export class Timeline {
  #rows: Message[] = []; // ascending by seq; those outside of held too
  #held: Ranges = []; // positions whose messages are all in rows
  #loose = 0; // how many rows are outside of held, at most
  #lost = 0; // the highest updated_seq of a loose row that was let go
  #last = 0; // the chat's last position, as far as it was told
  #tip = 0; // the last that was held when it was told: the present

  /**
   * Applies an event of this chat, as it came from the client. Reports whether a
   * message that is held changed, came or went.
   */
  apply(ev: Event): boolean {
    const had = this.#held.length > 0;
    switch (ev.kind) {
      case "reset":
        this.#clear(0);
        return had;
      case "chat.added":
        // What changed up to there was not told.
        this.#clear(ev.state.pos);
        return had;
      case "chat.removed":
      case "skipped":
        this.#clear(Math.max(this.#lost, ev.seq));
        return had;
    }
    if (!("prevSeq" in ev)) return false;
    this.#held = addRange(this.#held, ev.prevSeq + 1, ev.seq);
    this.#last = Math.max(this.#last, ev.seq);
    this.#tip = Math.max(this.#tip, ev.seq);
    if (!("message" in ev) || !this.#put(ev.message)) return false;
    if (hasPosition(this.#held, ev.message.seq)) return true;
    if (++this.#loose > maxLoose) this.tidy();
    return false;
  }

  #clear(lost: number): void {
    this.#rows = [];
    this.#held = [];
    this.#loose = this.#last = this.#tip = 0;
    this.#lost = lost;
  }

  /** Keeps m if it is newer than what is kept. */
  #put(m: Message): boolean {
    const i = this.#find(m.seq);
    const was = this.#rows[i];
    if (was?.seq !== m.seq) this.#rows.splice(i, 0, m);
    else if (was.updated_seq < m.updated_seq) this.#rows[i] = m;
    else return false;
    return true;
  }

  /** The index of the first row at or after seq. */
  #find(seq: number): number {
    let lo = 0;
    let hi = this.#rows.length;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if (this.#rows[mid]!.seq < seq) lo = mid + 1;
      else hi = mid;
    }
    return lo;
  }

  /** Lets go of the rows outside of what is held. */
  tidy(): void {
    this.#loose = 0;
    this.#rows = this.#rows.filter((m) => {
      if (hasPosition(this.#held, m.seq)) return true;
      this.#lost = Math.max(this.#lost, m.updated_seq);
      return false;
    });
  }

  /**
   * Applies a page that messages.list gave for these params. Throws a GrimaError
   * stale_page when rows on it changed meanwhile in a way that is lost: ask again.
   */
  applyPage(asked: MessagesListParams, page: MessagesListResult): void {
    if (page.last_seq < this.#lost) {
      throw new GrimaError({ reason: "stale_page", message: "the page is older than changes that are lost" });
    }
    // What goes into one hole goes in at once: far back, a row at a time would
    // move everything behind it each time.
    const all = page.messages;
    for (let k = 0; k < all.length; ) {
      const i = this.#find(all[k]!.seq);
      if (this.#rows[i]?.seq === all[k]!.seq) {
        this.#put(all[k++]!);
        continue;
      }
      const end = this.#rows[i]?.seq ?? Infinity;
      let n = k + 1;
      while (n < all.length && all[n]!.seq > all[n - 1]!.seq && all[n]!.seq < end) n++;
      this.#rows.splice(i, 0, ...all.slice(k, n));
      k = n;
    }
    const r = pageRange(asked, page);
    this.#held = addRange(this.#held, r.from, r.to);
    this.#last = Math.max(this.#last, page.last_seq);
    // The newest that a store has may end before the chat does, and a page in the
    // middle of it where what the store knows ends.
    const newest = asked.before === undefined && asked.after === undefined && asked.around === undefined && asked.at === undefined;
    if (r.from <= r.to && (newest || !page.has_more_after)) this.#tip = Math.max(this.#tip, r.to);
  }

  /**
   * The held range that touches the present. A page from before may know of a
   * position whose event is still to come: what touched the present until then
   * stays it.
   */
  get present(): Range | undefined {
    return rangeAround(this.#held, this.#tip);
  }

  /** The held range that has seq; the present for 0. */
  #around(seq: number): Range | undefined {
    return seq === 0 ? this.present : rangeAround(this.#held, seq);
  }

  /**
   * What is held of the range that touches the present, or of the one around seq:
   * ascending, without holes, deleted ones too. 0 means the present.
   */
  messages(seq = 0): Message[] {
    const r = this.#around(seq);
    return r ? this.#rows.slice(this.#find(r.from), this.#find(r.to + 1)) : [];
  }

  /** One message that is held. */
  message(seq: number): Message | undefined {
    const m = this.#rows[this.#find(seq)];
    return m?.seq === seq && hasPosition(this.#held, seq) ? m : undefined;
  }

  /**
   * What to ask for to scroll back from what messages(seq) gives; undefined when
   * that begins at the beginning.
   */
  before(chatId: string, seq = 0, limit = limits.defaultPage as number): MessagesListParams | undefined {
    const r = this.#around(seq);
    const p = { chat_id: chatId, limit };
    if (!r) return seq === 0 ? p : { ...p, around: seq };
    return r.from <= 1 ? undefined : { ...p, before: r.from };
  }

  /**
   * What to ask for to scroll forward from what messages(seq) gives; undefined
   * when that reaches the present.
   */
  after(chatId: string, seq = 0, limit = limits.defaultPage as number): MessagesListParams | undefined {
    const r = this.#around(seq);
    const p = { chat_id: chatId, limit };
    if (!r) return seq === 0 ? p : { ...p, around: seq };
    return r.to >= this.#last ? undefined : { ...p, after: r.to };
  }

  /** The ranges of positions whose messages are held. */
  get held(): Ranges {
    return this.#held;
  }
}

/**
 * The positions of which a page that was asked for like this has all messages. It
 * is empty (from above to) when that cannot be told.
 */
export function pageRange(asked: MessagesListParams, page: MessagesListResult): Range {
  let from = 1;
  let to = page.last_seq;
  if (page.has_more_before) from = page.messages[0]?.seq ?? limits.maxInteger;
  if (page.has_more_after) to = page.messages.at(-1)?.seq ?? 0;
  // What was asked for reaches to the edge it was asked from.
  if (asked.after !== undefined) from = Math.min(from, asked.after + 1);
  if (asked.before !== undefined) to = Math.max(to, Math.min(asked.before - 1, page.last_seq));
  return { from, to };
}
