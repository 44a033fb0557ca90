import { GrimaError } from "./errors.js";
import { MemoryKv, openIndexedDB, tables, type Kv, type Tx } from "./kv.js";
import { limits, type Message, type MessagesListParams, type MessagesListResult, type User } from "./protocol.gen.js";
import { addRange, rangeAround, type Range, type Ranges } from "./ranges.js";
import { pageRange } from "./timeline.js";
import type { Chat, Event, HeldPage, Item, State, Store } from "./types.js";

/**
 * A store in the browser's database of that name: one for each user of each
 * server. Rejects with a GrimaError store where there is none, as in some private
 * windows: a memoryStore then does.
 */
export async function indexedDBStore(name: string, factory: IDBFactory = indexedDB): Promise<Store> {
  return new RowStore(await openIndexedDB(name, factory));
}

/** A store that lasts as long as it is held. */
export function memoryStore(): Store {
  return storeOn(new MemoryKv());
}

/** A store of its own on tables that it may share with others. */
export function storeOn(kv: Kv): Store {
  return new RowStore(kv);
}

/** What is kept of a chat. */
interface ChatRecord {
  state: Chat;
  floor: number; // pages from before it may be of another past
  held: Ranges; // positions whose messages are all kept
}

interface OutboxRecord {
  item: Item;
  ordinal: number;
}

const metaKey = "state";
const holderKey = "holder"; // which take was the last
type Meta = Omit<State, "chats" | "outbox">;
const noMeta: Meta = { userId: "", epoch: "", cursor: "", complete: false };

class RowStore implements Store {
  readonly #kv: Kv;
  #holder = 0; // the take that was this one's; 0: none

  constructor(kv: Kv) {
    this.#kv = kv;
  }

  load(): Promise<State> {
    return this.#kv.transact("readonly", (tx) => this.#load(tx));
  }

  async #load(tx: Tx): Promise<State> {
    const [meta, chats, outbox] = await Promise.all([tx.get("meta", metaKey), tx.list("chats"), tx.list("outbox")]);
    return {
      ...((meta as Meta | undefined) ?? noMeta),
      chats: (chats as ChatRecord[]).map((c) => c.state),
      outbox: (outbox as OutboxRecord[]).sort((a, b) => a.ordinal - b.ordinal).map((o) => o.item),
    };
  }

  async take(): Promise<State> {
    const [state, holder] = await this.#kv.transact("readwrite", async (tx) => {
      const n = (((await tx.get("meta", holderKey)) as number | undefined) ?? 0) + 1;
      tx.put("meta", holderKey, n);
      return [await this.#load(tx), n] as const;
    });
    this.#holder = holder;
    return state;
  }

  /** A transaction of the holder's, if there is one. */
  #write(work: (tx: Tx) => Promise<void>): Promise<void> {
    return this.#kv.transact("readwrite", async (tx) => {
      if (this.#holder > 0 && (await tx.get("meta", holderKey)) !== this.#holder) {
        throw new GrimaError({ reason: "store", code: "taken", message: "another tab has taken the store" });
      }
      await work(tx);
    });
  }

  apply(events: readonly Event[]): Promise<void> {
    return this.#write(async (tx) => {
      const b = new Batch(tx);
      await b.read(events);
      for (const ev of events) await b.apply(ev);
      b.end();
    });
  }

  put(item: Item): Promise<void> {
    return this.#write((tx) => putItem(tx, item, true));
  }

  drop(id: string): Promise<void> {
    return this.#write(async (tx) => tx.delete("outbox", id));
  }

  page(p: MessagesListParams): Promise<HeldPage> {
    return this.#kv.transact("readonly", async (tx) => {
      const page: MessagesListResult = { messages: [], has_more_before: true, has_more_after: false, last_seq: 0 };
      const rec = (await tx.get("chats", p.chat_id)) as ChatRecord | undefined;
      if (!rec) return { page, whole: false };
      const last = (page.last_seq = rec.state.last_seq);
      const at = anchor(rec.held, p, last);
      if (!at.range) {
        page.has_more_after = p.before !== undefined || p.after !== undefined || p.around !== undefined;
        return { page, whole: false };
      }
      const r = at.range;
      const limit = p.limit || limits.defaultPage;
      // What was told is kept, also of rows that are far from the chat's end.
      page.last_seq = Math.min(last, Math.max(r.to, rec.state.pos));
      let below = p.after !== undefined ? 0 : limit;
      let above = p.after !== undefined || p.around !== undefined ? limit : 0;
      let before = await messages(tx, p.chat_id, r.from, at.seq - 1, below + 1, true);
      let after = await messages(tx, p.chat_id, at.seq, r.to, above + 1, false);
      let moreBefore = before.length > below;
      let moreAfter = after.length > above;
      if (p.around !== undefined) {
        // About half on each side, and more of one where the other has less.
        below = Math.min(Math.max(limit >> 1, limit - after.length), before.length);
        above = limit - below;
      }
      if (before.length > below) {
        before = below === 0 ? [] : before.slice(-below);
        moreBefore = true;
      }
      if (after.length > above) {
        after = after.slice(0, above);
        moreAfter = true;
      }
      page.messages = [...before, ...after];
      page.has_more_before = moreBefore || r.from > 1;
      page.has_more_after = moreAfter || r.to < last;
      // A side that ends where what is held ends could go on.
      const whole = (moreBefore || r.from <= 1 || p.after !== undefined) && (moreAfter || r.to >= last || p.before !== undefined);
      return { page, whole };
    });
  }

  putPage(p: MessagesListParams, page: MessagesListResult, joinedSeq: number): Promise<void> {
    return this.#kv.transact("readwrite", async (tx) => {
      const rec = (await tx.get("chats", p.chat_id)) as ChatRecord | undefined;
      // Of a chat that is another one by now, or not there yet?
      if (!rec || (rec.state.joined_seq ?? 0) !== joinedSeq || page.last_seq < rec.floor) return;
      await Promise.all(page.messages.map((m) => putMessage(tx, m)));
      const r = pageRange(p, page);
      tx.put("chats", p.chat_id, { ...rec, held: addRange(rec.held, r.from, r.to) } satisfies ChatRecord);
    });
  }

  users(ids: readonly string[]): Promise<User[]> {
    return this.#kv.transact("readonly", async (tx) => {
      const all = await Promise.all(ids.map((id) => tx.get("users", id)));
      return all.filter((u) => u !== undefined) as User[];
    });
  }

  putUsers(users: readonly User[]): Promise<void> {
    return this.#kv.transact("readwrite", async (tx) => {
      for (const u of users) tx.put("users", u.user_id, u);
    });
  }

  drafts(): Promise<Map<string, string>> {
    return this.#kv.transact("readonly", async (tx) => new Map((await tx.list("drafts")) as [string, string][]));
  }

  setDraft(chatId: string, text: string): Promise<void> {
    return this.#kv.transact("readwrite", async (tx) => {
      if (text === "") tx.delete("drafts", chatId);
      else tx.put("drafts", chatId, [chatId, text]);
    });
  }

  clear(): Promise<void> {
    return this.#kv.transact("readwrite", async (tx) => {
      const holder = await tx.get("meta", holderKey);
      for (const t of tables) tx.clear(t);
      if (holder !== undefined) tx.put("meta", holderKey, holder); // who has it has it still
    });
  }

  close(): void {
    this.#kv.close();
  }
}

/** The held range that a page lies in, and the first position above where it is asked for. */
function anchor(held: Ranges, p: MessagesListParams, last: number): { range: Range | undefined; seq: number } {
  if (p.before !== undefined) return { range: rangeAround(held, Math.min(p.before, last + 1) - 1), seq: p.before };
  if (p.after !== undefined) return { range: rangeAround(held, p.after + 1), seq: p.after + 1 };
  if (p.around !== undefined) return { range: rangeAround(held, p.around), seq: p.around };
  const range = held.at(-1);
  return { range, seq: (range?.to ?? 0) + 1 };
}

/** The first or last messages of from..to, ascending. */
async function messages(tx: Tx, chatId: string, from: number, to: number, limit: number, newest: boolean): Promise<Message[]> {
  if (from > to) return [];
  const rows = (await tx.list("messages", { from: [chatId, from], to: [chatId, to], limit, newest })) as Message[];
  return newest ? rows.reverse() : rows;
}

async function putMessage(tx: Tx, m: Message): Promise<void> {
  const was = (await tx.get("messages", [m.chat_id, m.seq])) as Message | undefined;
  if (!was || was.updated_seq < m.updated_seq) tx.put("messages", [m.chat_id, m.seq], m);
}

/** Keeps an item; make: also one that is not there. */
async function putItem(tx: Tx, item: Item, make: boolean): Promise<void> {
  if (item.progress === "sent" || item.progress === "discarded") return tx.delete("outbox", item.id);
  const was = (await tx.get("outbox", item.id)) as OutboxRecord | undefined;
  let ordinal = was?.ordinal ?? 0;
  // One that is tried again goes to the end.
  if (!was || (was.item.progress === "failed" && item.progress === "pending")) {
    if (!was && !make) return;
    const all = (await tx.list("outbox")) as OutboxRecord[];
    ordinal = all.reduce((n, o) => Math.max(n, o.ordinal), 0) + 1;
  }
  tx.put("outbox", item.id, { item, ordinal } satisfies OutboxRecord);
}

/** The rows of one chat's messages in a batch. */
interface Rows {
  seqs: number[]; // to be read
  was: Map<number, Message>; // as they are kept
  put: Map<number, Message>; // to be kept
}

/** An apply under way: what is read at once at its beginning, and written once at its end. */
class Batch {
  readonly #tx: Tx;
  readonly #chats = new Map<string, ChatRecord | undefined>(); // undefined: the chat is gone, or was never there
  readonly #rows = new Map<string, Rows>();
  #meta: Meta | undefined;

  constructor(tx: Tx) {
    this.#tx = tx;
  }

  /** Reads what events are about to change. */
  async read(events: readonly Event[]): Promise<void> {
    const tx = this.#tx;
    const chats = new Set<string>();
    for (const ev of events) {
      if ("state" in ev && ev.kind !== "typing") chats.add(ev.chatId);
      if ("message" in ev) this.#of(ev.chatId).seqs.push(ev.message.seq);
    }
    await Promise.all([
      ...[...chats].map(async (id) => this.#chats.set(id, (await tx.get("chats", id)) as ChatRecord | undefined)),
      ...[...this.#rows].map(([id, r]) => this.#readRows(id, r)),
    ]);
  }

  async #readRows(chatId: string, r: Rows): Promise<void> {
    const from = r.seqs.reduce((a, b) => Math.min(a, b));
    const to = r.seqs.reduce((a, b) => Math.max(a, b));
    // New messages stand side by side; edited ones may be far apart.
    const lists =
      to - from < 4 * r.seqs.length
        ? [this.#tx.list("messages", { from: [chatId, from], to: [chatId, to] })]
        : r.seqs.map(async (seq) => [await this.#tx.get("messages", [chatId, seq])]);
    for (const list of await Promise.all(lists)) {
      for (const m of list as (Message | undefined)[]) if (m) r.was.set(m.seq, m);
    }
  }

  #of(chatId: string): Rows {
    let r = this.#rows.get(chatId);
    if (!r) this.#rows.set(chatId, (r = { seqs: [], was: new Map(), put: new Map() }));
    return r;
  }

  async #getMeta(): Promise<Meta> {
    return (this.#meta ??= ((await this.#tx.get("meta", metaKey)) as Meta | undefined) ?? noMeta);
  }

  async apply(ev: Event): Promise<void> {
    const tx = this.#tx;
    switch (ev.kind) {
      case "reset":
        tx.clear("chats");
        tx.clear("messages");
        this.#chats.clear();
        this.#rows.clear();
        this.#meta = { ...(await this.#getMeta()), epoch: ev.epoch, cursor: "", complete: false };
        return;
      case "cursor":
        this.#meta = { ...(await this.#getMeta()), userId: ev.userId, epoch: ev.epoch, cursor: ev.cursor, complete: ev.complete };
        return;
      case "self":
        this.#meta = { ...(await this.#getMeta()), userId: ev.user.user_id, self: ev.user };
        return;
      case "outbox":
        return await putItem(tx, ev.item, false);
      case "user":
        tx.put("users", ev.user.user_id, ev.user);
        return;
      case "chat.added":
        this.#forget(ev.chatId);
        this.#chats.set(ev.chatId, { state: ev.state, floor: ev.state.pos, held: [] });
        return;
      case "skipped":
        this.#forget(ev.chatId);
        this.#chats.set(ev.chatId, { state: ev.state, floor: ev.seq, held: [] });
        return;
      case "chat.removed":
        this.#forget(ev.chatId);
        this.#chats.set(ev.chatId, undefined);
        return;
    }
    if (!("state" in ev) || ev.kind === "typing") return;
    const rec = this.#chats.get(ev.chatId) ?? { state: ev.state, floor: ev.state.pos, held: [] };
    let held = rec.held;
    if ("prevSeq" in ev) held = addRange(held, ev.prevSeq + 1, ev.seq);
    this.#chats.set(ev.chatId, { ...rec, state: ev.state, held });
    if (!("message" in ev)) return;
    const { was, put } = this.#of(ev.chatId);
    const m = ev.message;
    const old = put.get(m.seq) ?? was.get(m.seq);
    if (!old || old.updated_seq < m.updated_seq) put.set(m.seq, m);
  }

  /** Forgets the messages of a chat. */
  #forget(chatId: string): void {
    this.#rows.delete(chatId);
    this.#tx.deleteRange("messages", [chatId, 0], [chatId, limits.maxInteger]);
  }

  end(): void {
    for (const [id, rec] of this.#chats) {
      if (rec) this.#tx.put("chats", id, rec);
      else this.#tx.delete("chats", id);
    }
    for (const [id, r] of this.#rows) {
      for (const m of r.put.values()) this.#tx.put("messages", [id, m.seq], m);
    }
    if (this.#meta) this.#tx.put("meta", metaKey, this.#meta);
  }
}
