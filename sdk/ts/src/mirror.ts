import { sorted } from "./chats.js";
import type { Hello, User } from "./protocol.gen.js";
import type { Chat, Connection, Event, Item, State } from "./types.js";

/** Everything that a client shows, as data: what one tab tells another that joins. */
export interface Snapshot {
  epoch: string;
  self: User | undefined;
  hello: Hello | undefined;
  connection: Connection;
  chats: Chat[];
  outbox: Item[];
  presence: [string, string][];
}

/** A snapshot of what a store has. */
export function snapshotOf(st: State): Snapshot {
  const connection: Connection = { link: "offline" };
  return { epoch: st.epoch, self: st.self, hello: undefined, connection, chats: st.chats, outbox: st.outbox, presence: [] };
}

/** How many messages that were sent are remembered as such. */
const maxSent = 1024;

/** What the events up to now have told. */
export class Mirror {
  readonly chats = new Map<string, Chat>();
  readonly outbox = new Map<string, Item>(); // in order
  readonly presence = new Map<string, string>();
  readonly drafts = new Map<string, string>();
  readonly sent = new Map<string, Item>(); // the latest ones: a store, or a leader, may not know yet
  self: User | undefined;
  hello: Hello | undefined;
  connection: Connection = { link: "offline" };
  epoch = "";

  /**
   * Takes an event. Undefined: it is no news, as when another tab that takes over
   * tells what was told. Else the event, which is another if part of it is none.
   */
  apply(ev: Event): Event | undefined {
    switch (ev.kind) {
      case "reset":
        this.chats.clear();
        this.sent.clear();
        this.epoch = ev.epoch;
        return ev;
      case "cursor":
        this.epoch = ev.epoch;
        return ev;
      case "self":
        this.self = ev.user;
        return ev;
      case "hello":
        this.hello = ev.hello;
        return ev;
      case "connection":
        this.connection = ev.connection;
        if (ev.connection.link !== "online") this.presence.clear();
        return ev;
      case "presence":
        if (this.presence.get(ev.userId) === ev.status) return undefined;
        this.presence.set(ev.userId, ev.status);
        return ev;
      case "draft":
        if (ev.text === "") this.drafts.delete(ev.chatId);
        else this.drafts.set(ev.chatId, ev.text);
        return ev;
      case "outbox":
        return this.#item(ev.item) ? ev : undefined;
      case "synced":
      case "user":
        return ev;
      case "chat.removed":
        return this.chats.delete(ev.chatId) ? ev : undefined;
    }
    return this.#chat(ev);
  }

  #chat(ev: Event & { state: Chat }): Event | undefined {
    const was = this.chats.get(ev.state.chat_id);
    const same = was && (was.joined_seq ?? 0) === (ev.state.joined_seq ?? 0);
    if (same && "prevSeq" in ev) {
      if (ev.seq <= was.pos) return undefined;
      if (ev.prevSeq < was.pos) ev = { ...ev, prevSeq: was.pos };
    } else if (same && (ev.state.pos < was.pos || (ev.kind === "chat.added" && ev.state.pos === was.pos))) {
      return undefined;
    }
    this.chats.set(ev.state.chat_id, ev.state);
    return ev;
  }

  /** Takes an item of the outbox. */
  #item(it: Item): boolean {
    if (this.sent.has(it.id)) return false;
    const was = this.outbox.get(it.id);
    if (it.progress === "sent" || it.progress === "discarded") {
      // Without a place it is only thought to be sent, and may be told again.
      if (it.seq !== undefined) this.sent.set(it.id, it);
      if (this.sent.size > maxSent) this.sent.delete(this.sent.keys().next().value!);
      return this.outbox.delete(it.id);
    }
    // One that is tried again goes to the end.
    if (was?.progress === "failed" && it.progress === "pending") this.outbox.delete(it.id);
    this.outbox.set(it.id, it);
    return true;
  }

  snapshot(): Snapshot {
    const { epoch, self, hello, connection } = this;
    return { epoch, self, hello, connection, chats: [...this.chats.values()], outbox: [...this.outbox.values()], presence: [...this.presence] };
  }

  /**
   * The events that lead from what was told to a snapshot: of another tab's, or of
   * a store. What is ahead of it stays: it will be told again.
   */
  towards(to: Snapshot): Event[] {
    const evs: Event[] = [];
    let known = this.chats;
    if (to.epoch !== this.epoch && known.size > 0) {
      evs.push({ kind: "reset", epoch: to.epoch });
      known = new Map();
    }
    this.epoch = to.epoch;
    if (to.self && !equal(to.self, this.self)) evs.push({ kind: "self", user: to.self });
    if (to.hello && !equal(to.hello, this.hello)) evs.push({ kind: "hello", hello: to.hello });
    const there = new Set(to.chats.map((c) => c.chat_id));
    for (const chatId of known.keys()) if (!there.has(chatId)) evs.push({ kind: "chat.removed", chatId, seq: 0 });
    for (const state of to.chats) {
      const chatId = state.chat_id;
      const was = known.get(chatId);
      if (was && (was.joined_seq ?? 0) === (state.joined_seq ?? 0)) {
        if (state.pos > was.pos) evs.push({ kind: "skipped", chatId, prevSeq: was.pos, seq: state.pos, state });
        else if (state.pos === was.pos && !equal(state, was)) evs.push({ kind: "chat.state", chatId, state });
        continue;
      }
      if (was) evs.push({ kind: "chat.removed", chatId, seq: 0 });
      evs.push({ kind: "chat.added", chatId, state });
    }
    const items = new Map(to.outbox.map((it) => [it.id, it]));
    for (const it of this.outbox.values()) {
      // What left the outbox unheard was most likely sent.
      if (!items.has(it.id)) evs.push({ kind: "outbox", chatId: it.chatId, item: { ...it, progress: "sent" } });
    }
    for (const item of to.outbox) {
      if (!equal(item, this.outbox.get(item.id))) evs.push({ kind: "outbox", chatId: item.chatId, item });
    }
    if (!equal(to.connection, this.connection)) evs.push({ kind: "connection", connection: to.connection });
    if (to.connection.link === "online" && this.connection.link !== "online") evs.push({ kind: "synced" }); // it was told where it was heard
    for (const [userId, status] of to.presence) evs.push({ kind: "presence", userId, status });
    return evs;
  }

  list(): Chat[] {
    return sorted([...this.chats.values()]);
  }
}

/** Whether two values of plain data are the same. */
function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const x = Object.entries(a).filter(([, v]) => v !== undefined);
  const y = b as Record<string, unknown>;
  return x.length === Object.values(b).filter((v) => v !== undefined).length && x.every(([k, v]) => equal(v, y[k]));
}

