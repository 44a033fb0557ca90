import assert from "node:assert/strict";
import type {
  ChangesListResult, ChatRow, ChatState, Message, MessageSendResult, MessagesListParams, MessagesListResult, Participant, SyncParams, SyncResult,
} from "../src/protocol.gen.js";
import { decodeRequest, type Request } from "./server.js";

/** A seeded generator (mulberry32): what failed can be played again. */
export class Random {
  #a: number;

  constructor(seed: number) {
    this.#a = seed >>> 0;
  }

  next(): number {
    let t = (this.#a = (this.#a + 0x6d2b79f5) >>> 0);
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from..to. */
  int(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  pick<T>(list: readonly T[]): T {
    return list[this.int(0, list.length - 1)]!;
  }
}

export const me = "u_1";

/** A chat in the world. */
export interface Room {
  row: ChatRow;
  last: number;
  stamp: number; // of the latest change for u_1
  in: boolean;
  joined: number;
  left: number;
  read: number;
  msgs: Message[];
  members: Map<string, Participant>;
}

/** A connection: lines that the client has yet to get. */
export interface Wire {
  lines: string[];
  subscribed: boolean;
}

class Refused extends Error {
  readonly code: string;
  readonly retryable: boolean;
  constructor(code: string, retryable = false) {
    super(code);
    this.code = code;
    this.retryable = retryable;
  }
}

/**
 * A server of values: what docs/protocol.md says of chats and logs, and nothing
 * else. Its only user with a connection is u_1.
 */
export class World {
  epoch = "e1";
  stamp = 0;
  chats = new Map<string, Room>();
  sent = new Map<string, MessageSendResult>(); // by client_msg_id
  busy = 0;
  refuses = true; // for good what begins with "refused"
  conn: Wire | undefined;
  page: number; // rows of a page of changes; 0: as asked for

  constructor(page: number) {
    this.page = page;
  }

  connect(): Wire {
    this.conn = { lines: [], subscribed: false };
    this.say({ type: "Hello", protocol: 1, server: "x", server_id: "n", epoch: this.epoch, auth: [], capabilities: [], limits: { max_frame: 65536 }, time: "" });
    return this.conn;
  }

  say(frame: object): void {
    this.conn?.lines.push(JSON.stringify(frame));
  }

  /** A message that is told as a gap, as to who lags. */
  quiet(r: Room): void {
    const said = this.conn?.lines.length ?? 0;
    const { seq } = this.post(r, "u_2", `quiet ${this.stamp}`);
    const told = this.conn?.lines.splice(said) ?? [];
    if (told.length > 0) this.say({ type: "BroadcastResponse", event: "gap", chat_id: r.row.chat_id, seq });
  }

  /** Delivers an event of r to u_1 if it is for them. */
  tell(r: Room, event: string, rows: object = {}): void {
    this.stamp++;
    const theirs = r.in || r.left === r.last;
    if (theirs) r.stamp = this.stamp;
    if (this.conn?.subscribed && theirs) this.say({ type: "BroadcastResponse", event, chat_id: r.row.chat_id, seq: r.last, ...rows });
  }

  // What happens in the world. Rows are never changed.

  create(chat_id: string, mine: boolean): void {
    const row: ChatRow = { chat_id, kind: "group", title: chat_id, created_at: "t", updated_seq: 1 };
    const r: Room = { row, last: 1, stamp: 0, in: mine, joined: mine ? 1 : 0, left: 0, read: 0, msgs: [], members: new Map() };
    const participant: Participant = { user_id: mine ? me : "u_2", role: "owner", joined_seq: 1, updated_seq: 1 };
    r.members.set(participant.user_id, participant);
    this.chats.set(chat_id, r);
    this.tell(r, "chat.created", { participant, chat: row });
  }

  add(r: Room, user_id: string): void {
    const p = r.members.get(user_id);
    if (p && !p.left_seq) return;
    r.last++;
    const participant: Participant = { user_id, role: "member", joined_seq: r.last, updated_seq: r.last };
    r.members.set(user_id, participant);
    if (user_id === me) Object.assign(r, { in: true, joined: r.last, left: 0, read: r.last });
    this.tell(r, "participant.added", { participant });
  }

  remove(r: Room, user_id: string): void {
    const p = r.members.get(user_id);
    if (!p || p.left_seq) return;
    r.last++;
    const participant = { ...p, left_seq: r.last, updated_seq: r.last };
    r.members.set(user_id, participant);
    if (user_id === me) Object.assign(r, { in: false, left: r.last });
    this.tell(r, "participant.removed", { participant });
  }

  post(r: Room, sender_id: string, content: string): Message {
    r.last++;
    const message: Message = {
      chat_id: r.row.chat_id, seq: r.last, updated_seq: r.last, sender_id, content, created_at: "t" + String(this.stamp).padStart(9, "0"),
    };
    r.msgs.push(message);
    this.tell(r, "message.created", { message });
    return message;
  }

  edit(r: Room, i: number, content: string): void {
    const m = r.msgs[i]!;
    if (m.deleted) return;
    r.last++;
    const message: Message = { ...m, content, updated_seq: r.last, edited_at: "e" };
    if (content === "") {
      delete message.content;
      message.deleted = true;
    }
    r.msgs[i] = message;
    this.tell(r, content === "" ? "message.deleted" : "message.updated", { message });
  }

  rename(r: Room, title: string): void {
    r.last++;
    r.row = { ...r.row, title, updated_seq: r.last };
    this.tell(r, "chat.updated", { chat: r.row });
  }

  /** Takes a number for something that u_1 is not told of, or of a later version. */
  other(r: Room, event: string): void {
    r.last++;
    this.tell(r, event);
  }

  state(r: Room, timeline: number): ChatState {
    if (!r.in) {
      return {
        chat_id: r.row.chat_id, kind: "", created_at: "", updated_seq: 0, last_seq: r.left, membership: "left", joined_seq: r.joined,
        read_seq: 0, unread: 0, mentions: 0,
      };
    }
    const unread = r.msgs.filter((m) => m.sender_id !== me && !m.deleted && m.seq > r.read).length;
    const st: ChatState = {
      ...r.row, last_seq: r.last, membership: "joined", role: r.members.get(me)!.role, joined_seq: r.joined, read_seq: r.read,
      unread: Math.min(unread, 1000), mentions: 0,
    };
    if (r.msgs.length > 0 && timeline > 0) st.messages = r.msgs.slice(-timeline);
    return st;
  }

  /** Takes a line of the client's and answers it at once. */
  hear(line: string): void {
    const req = decodeRequest(line);
    if (req.op === undefined) return;
    assert.deepEqual(req.ignored, [], "the client asks for nonsense");
    const head = { type: req.type.replace("Request", "Response"), id: Number(req.id), op: req.op };
    const held = this.conn!.lines;
    this.conn!.lines = [];
    let answer: object;
    try {
      answer = { ...head, result: this.#do(req) };
    } catch (err) {
      if (!(err instanceof Refused)) throw err;
      answer = { ...head, error: { code: err.code, message: "", retryable: err.retryable } };
    }
    // The answer stands before the events.
    this.conn!.lines = [...held, JSON.stringify(answer), ...this.conn!.lines];
  }

  #room(id: unknown): Room {
    const r = this.chats.get(id as string);
    if (!r?.in) throw new Refused("not_found");
    return r;
  }

  #do(req: Request): object {
    const p = req.params as any;
    switch (req.op) {
      case "session.start":
        this.conn!.subscribed = true;
        return { session_id: "s", user: { user_id: me, username: "me", name: "Me" }, expires_at: "", epoch: this.epoch, heartbeat_ms: p["heartbeat_ms"] };
      case "sync":
        return this.#sync(p);
      case "changes.list":
        return this.#changes(this.#room(p["chat_id"]), p["after"], p["limit"]);
      case "chats.get":
        return { chat: this.state(this.#room(p["chat_id"]), 0) };
      case "read.set":
        return this.#read(this.#room(p["chat_id"]), p["seq"]);
      case "message.send":
        return this.#send(p["chat_id"], p["client_msg_id"], p["content"]);
      case "messages.list":
        return this.#list(this.#room(p["chat_id"]), p as unknown as MessagesListParams);
      case "session.update":
        return { heartbeat_ms: 0 };
      case "typing":
        return {};
    }
    throw new Error("asked " + req.op);
  }

  #read(r: Room, seq: number): object {
    if (seq > r.last) throw new Refused("invalid_request");
    if (seq > r.read) {
      r.stamp = ++this.stamp;
      r.read = seq;
      this.say({ type: "BroadcastResponse", event: "read", chat_id: r.row.chat_id, user_id: me, read_seq: seq });
    }
    return { chat_id: r.row.chat_id, read_seq: r.read };
  }

  #send(chat_id: string, id: string, content: string): object {
    const was = this.sent.get(id);
    if (was) return { ...was, duplicate: true };
    const r = this.#room(chat_id);
    if (content.startsWith("refused") && this.refuses) throw new Refused("invalid_request");
    if (content.startsWith("busy") && this.busy++ % 3 === 0) throw new Refused("unavailable", true);
    const seq = r.last + 1;
    const res = { chat_id, seq, created_at: "t", duplicate: false };
    this.sent.set(id, res);
    this.post(r, me, content);
    return res;
  }

  /**
   * Cursors are "v1.EPOCH.DOWN.AFTER": of the first sync, going down below the
   * stamp DOWN and then up from AFTER; of others DOWN is 0.
   */
  #sync(p: SyncParams): SyncResult {
    let down = this.stamp + 1;
    let after = this.stamp;
    if (p.cursor) {
      const [, epoch, d, a] = p.cursor.split(".");
      if (epoch !== this.epoch) throw new Refused("cursor_invalid");
      down = Number(d);
      after = Number(a);
    }
    const limit = this.page > 0 ? Math.min(p.limit!, this.page) : p.limit!;
    const all = [...this.chats.values()]
      .filter((r) => r.stamp > 0 && (down > 0 ? r.stamp < down && r.stamp <= after : r.stamp > after))
      .sort((a, b) => (down > 0 ? b.stamp - a.stamp : a.stamp - b.stamp));
    const rows = all.slice(0, limit);
    let has_more = all.length > limit;
    const chats = rows.filter((r) => down === 0 || r.in).map((r) => this.state(r, p.timeline_limit ?? 1));
    const last = rows.at(-1)?.stamp ?? 0;
    if (has_more && down > 0) down = last;
    else if (down > 0) {
      down = 0;
      has_more = this.stamp > after;
    } else after = has_more ? last : this.stamp;
    return { chats, cursor: `v1.${this.epoch}.${down}.${after}`, has_more };
  }

  #changes(r: Room, after: number, asked: number): ChangesListResult {
    const limit = this.page > 0 ? Math.min(asked, this.page) : asked;
    let rows = [
      ...r.msgs.map((m) => ({ seq: m.updated_seq, m, p: undefined })),
      ...[...r.members.values()].map((p) => ({ seq: p.updated_seq, m: undefined, p })),
    ].filter((x) => x.seq > after).sort((a, b) => a.seq - b.seq);
    const has_more = rows.length > limit;
    rows = rows.slice(0, limit);
    const next = has_more ? rows.at(-1)!.seq : r.last;
    const res: ChangesListResult = {
      messages: rows.flatMap((x) => x.m ?? []), participants: rows.flatMap((x) => x.p ?? []), next, has_more,
    };
    if (r.row.updated_seq > after && r.row.updated_seq <= next) res.chat = r.row;
    return res;
  }

  #list(r: Room, p: MessagesListParams): MessagesListResult {
    const at = (seq: number): number => {
      const i = r.msgs.findIndex((m) => m.seq >= seq);
      return i < 0 ? r.msgs.length : i;
    };
    const limit = p.limit!;
    let to = r.msgs.length;
    let from = to - limit;
    if (p.before !== undefined) {
      to = at(p.before);
      from = to - limit;
    } else if (p.after !== undefined) {
      from = at(p.after + 1);
      to = from + limit;
    } else if (p.around !== undefined) {
      from = at(p.around) - Math.floor(limit / 2);
      to = from + limit;
    }
    from = Math.max(from, 0);
    to = Math.min(Math.max(to, 0), r.msgs.length);
    return { messages: r.msgs.slice(from, to), has_more_before: from > 0, has_more_after: to < r.msgs.length, last_seq: r.last };
  }

  /** The world as a backup has it. */
  clone(): World {
    const c = new World(this.page);
    Object.assign(c, { epoch: this.epoch, stamp: this.stamp, sent: new Map(this.sent), busy: this.busy });
    for (const [id, r] of this.chats) c.chats.set(id, { ...r, msgs: [...r.msgs], members: new Map(r.members) });
    return c;
  }
}
