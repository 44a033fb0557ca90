import assert from "node:assert/strict";
import { GrimaError } from "../src/errors.js";
import { Session, type SessionConfig } from "../src/session.js";
import type { Event } from "../src/types.js";
import { decodeRequest, type Request } from "./server.js";

/** A session in a test that is talked to line by line. */
export class Talk {
  readonly s: Session;
  now = 1e12;

  constructor(cfg: Partial<SessionConfig> = {}) {
    this.s = new Session({ login: { mechanism: "TOKEN", token: "gt_x" }, jitter: (ms) => ms, ...cfg });
  }

  /** Lets the server say lines. */
  says(...lines: string[]): void {
    for (const l of lines) this.s.line(this.now, l);
  }

  /** Checks which operations were asked since the last call, and gives the requests. */
  asks(...ops: string[]): Request[] {
    const reqs = this.s.output().map((l) => decodeRequest(l));
    assert.deepEqual(reqs.map((r) => r.op ?? r.type), ops);
    return reqs;
  }

  /** Checks the kinds of the events that wait. */
  tells(...kinds: Event["kind"][]): Event[] {
    const evs = this.s.take(1000);
    assert.deepEqual(evs.map((ev) => ev.kind), kinds);
    this.s.tick(this.now);
    return evs;
  }

  /** Answers the request that was asked last. */
  answers(op: string, result: unknown, id = this.s.lastId): void {
    const type = op.startsWith("session") ? "SessionResponse" : op.startsWith("message") ? "BroadcastResponse" : "DataResponse";
    this.says(JSON.stringify({ type, id, op, result }));
  }

  refuses(op: string, error: { code: string; retryable?: boolean; retry_after_ms?: number }, id = this.s.lastId): void {
    this.says(JSON.stringify({ type: "DataResponse", id, op, error: { message: "", retryable: false, ...error } }));
  }

  lost(why = "gone"): number {
    this.s.lost(this.now, new GrimaError({ reason: "network", message: why }));
    return (this.s.connection.retryAt ?? 0) - this.now;
  }

  /** Another connection, logged in. */
  again(): void {
    this.lost();
    this.s.connected(this.now);
    this.login();
    this.asks("session.start", "sync");
    this.s.take(1000);
  }

  login(over: object = {}): void {
    this.answers("session.start", { ...started, ...over });
  }

  synced(...chats: unknown[]): void {
    this.answers("sync", { chats, cursor: "k2", has_more: false });
  }
}

export const hello = `{"type":"Hello","protocol":1,"server":"x","server_id":"n","epoch":"e","auth":[],"capabilities":[],"limits":{"max_frame":65536,"max_content":16384,"max_page":200,"auth_timeout_ms":60000},"time":""}`;
export const started = { session_id: "s_1", user: { user_id: "u_1", username: "me", name: "Me" }, expires_at: "", epoch: "e", heartbeat_ms: 30000 };

export function stateOf(chat_id: string, joined_seq: number, last_seq: number, over: object = {}) {
  return {
    chat_id, kind: "group", title: "x", created_at: "t", updated_seq: 1, last_seq, membership: "joined", role: "member", joined_seq,
    read_seq: last_seq, unread: 0, mentions: 0, ...over,
  };
}

/** A session that is synced and knows c_1 at 5. */
export function online(cfg: Partial<SessionConfig> = {}): Talk {
  const k = new Talk(cfg);
  k.s.connected(k.now);
  k.says(hello);
  k.login();
  k.answers("sync", { chats: [stateOf("c_1", 2, 5, { read_seq: 4, unread: 1 })], cursor: "k1", has_more: false });
  k.asks("session.start", "sync");
  k.s.take(1000);
  return k;
}

export function message(seq: number, updated_seq = seq, content = "hi") {
  return { chat_id: "c_1", seq, updated_seq, sender_id: "u_2", content, created_at: "t" };
}

export function created(seq: number): string {
  return JSON.stringify({ type: "BroadcastResponse", event: "message.created", chat_id: "c_1", seq, message: message(seq) });
}

export function changes(messages: unknown[], next: number, has_more = false, participants: unknown[] = []) {
  return { messages, participants, next, has_more };
}
