import * as chats from "./chats.js";
import { decodeFrame, encodeFrame, utf8Length, type AnswerFrame, type Frame } from "./codec.js";
import { broke, GrimaError, permanent, refused } from "./errors.js";
import { Fault, type Json } from "./json.js";
import * as marks from "./marks.js";
import { decodeResult, frameOf } from "./operations.js";
import {
  limits,
  protocolVersion,
  type ErrorBody,
  type Goodbye,
  type Hello,
  type Operation,
  type Operations,
  type SessionStartParams,
  type User,
} from "./protocol.gen.js";
import { Queue } from "./queue.js";
import * as resume from "./resume.js";
import * as sending from "./sending.js";
import { backoff, longestWait, settings, type SessionConfig, type Settings } from "./settings.js";
import type { Chat, Connection, Draft, Event, Item, State } from "./types.js";

export type { SessionConfig } from "./settings.js";

/** An answer to an ask: result, or error when the server refused or the connection was lost. */
export interface Answer {
  ask: number;
  result?: unknown;
  error?: GrimaError;
}

/** A request that was not answered yet. */
export interface Ask {
  id: number;
  op: string;
  at: number;
  done: boolean;
  /** Absent: for answers. What it throws ends the connection. */
  answer?: (now: number, result: Json, error: ErrorBody | undefined) => void;
}

/** How long an answer may take. The server bounds a request at 30 s. */
const answerTime = 90_000;
/** How long a connection has to last to count as a good one. */
const steady = 30_000;

/**
 * What a client knows and does, without network, clock or timers: lines of a
 * server go in, lines to it and events come out, and the time (ms since 1970) is
 * what it is told: if it goes back, putBack comes first. It outlives connections. A
 * Client drives one.
 *
 * ```ts
 * s.connected(now);            // a connection is there
 * s.line(now, line);           // it said something; throws: close it, and call lost
 * for (const l of s.output())  // what is to be written to it
 * s.take(max);                 // events to tell
 * s.answers();                 // to what was asked with ask
 * s.tick(now); s.deadline();   // when there is something to do without a line
 * s.lost(now, err);            // it is gone; s.connection.retryAt says when to try again
 * ```
 *
 * Members marked internal are for the other files of the session.
 */
export class Session {
  /** @internal */ readonly cfg: Settings;

  // What is known, over connections.
  /** Who is logged in; before that, who the state belongs to. */
  user: User;
  /** @internal */ userKnown: boolean;
  /** @internal */ epoch: string;
  /** @internal */ cursor: string;
  /** @internal */ complete: boolean; // the first sync came to its end
  /** @internal */ chats = new Map<string, chats.Entry>();
  /** @internal */ boxes = new Map<string, sending.Box>(); // the outbox, by chat
  /** @internal */ items = new Map<string, sending.Queued>(); // the same, by id, and failed ones
  /** @internal */ ordinal = 0; // of the item queued last
  /** @internal */ focused: readonly string[] | undefined; // undefined: it was not said
  /** @internal */ active: boolean | undefined;
  /** @internal */ typed: { chatId: string; at: number } | undefined;

  // What the application has yet to take.
  /** @internal */ queue = new Queue();
  /** @internal */ reserved = 0; // places in it for the pages that were asked for
  /** @internal */ answered: Answer[] = [];
  /** @internal */ work: chats.Entry[] = []; // those with something to ask or to tell
  /** @internal */ removals = new Set<string>(); // chat.removed is due for these, when there is room

  // The connection.
  #link: Connection = { link: "offline" };
  #stopped: GrimaError | undefined;
  #failures = 0; // connections in a row that came to nothing
  /** The greeting on the latest connection. */
  hello: Hello | undefined;
  #up = false; // there is one
  /** @internal */ ready = false; // and it is logged in
  /** @internal */ gen = 0; // counts resets: answers to what was asked before one are void
  /** @internal */ lastId = 0;
  /** @internal */ taking = 0; // the request whose answer is being taken, or was last
  /** @internal */ asks = new Map<number, Ask>(); // in the order they were asked
  #out: string[] = [];
  #began = 0; // connected
  #heard = 0; // the last line
  #spoke = 0; // our last line
  #beat = 0;
  #least = 0; // what the server said about coming back
  #exact = false; // no more than that, the first time
  /** @internal */ sync: resume.Syncing = resume.noSync();
  /** @internal */ left = new Map<string, number>(); // chats that were left on this connection, and at which seq
  /** @internal */ unasked: GrimaError | undefined; // what the session itself could not ask
  /** @internal */ wentBack = false; // a chat's last_seq was seen to go back

  /** Makes a session that goes on from state. */
  constructor(cfg: SessionConfig, state?: State) {
    this.cfg = settings(cfg);
    const st = state ?? { userId: "", epoch: "", cursor: "", complete: false, chats: [], outbox: [] };
    this.user = st.self ?? { user_id: st.userId, username: "", name: "" };
    this.userKnown = st.self !== undefined;
    this.epoch = st.epoch;
    this.cursor = st.cursor;
    this.complete = st.complete;
    if (st.cursor === "" && st.chats.length > 0) {
      // The first page was not kept whole. A sync from the beginning does not tell
      // which of its chats were left since.
      chats.reset(this, st.epoch);
    } else {
      for (const c of st.chats) this.chats.set(c.chat_id, chats.restored(c));
    }
    for (const it of st.outbox) sending.restore(this, it);
  }

  /** How the connection stands. */
  get connection(): Connection {
    return this.#link;
  }

  /** Why there shall be no other connection. */
  get stopped(): GrimaError | undefined {
    return this.#stopped;
  }

  /** A connection is being made. */
  dialing(): void {
    this.setLink({ link: "connecting" });
  }

  /** Begins a connection. output then has the login. */
  connected(now: number): void {
    this.dialing();
    this.#up = true;
    this.#began = this.#heard = this.#spoke = now;
    this.hello = undefined;
    this.#beat = this.cfg.heartbeatMs;
    this.#least = 0;
    this.#exact = this.wentBack = false;
    this.unasked = undefined;
    this.left = new Map();
    this.work = [];
    for (const e of this.chats.values()) {
      chats.connected(e);
      if (chats.waiting(this, e)) chats.todo(this, e);
    }
    const params: SessionStartParams = { ...this.cfg.login, client: this.cfg.agent, heartbeat_ms: this.cfg.heartbeatMs };
    if (this.cfg.device !== "") params.device = this.cfg.device;
    this.askFor(now, "session.start", params, (at, result, failure) => this.#started(at, result as Operations["session.start"]["result"], failure));
  }

  /** Takes the answer to session.start. */
  #started(now: number, r: Operations["session.start"]["result"], failure: ErrorBody | undefined): void {
    if (failure) {
      if (failure.retryable) {
        this.#least = Math.min(failure.retry_after_ms ?? 0, longestWait);
        throw refused(failure);
      }
      throw refused(failure, "login");
    }
    if (r.user.user_id === "") throw broke("session.start was answered without a user");
    if (this.user.user_id !== "" && this.user.user_id !== r.user.user_id) {
      throw new GrimaError({ reason: "other_user", message: "the store belongs to another user" });
    }
    this.user = r.user;
    this.userKnown = this.ready = true;
    this.queue.only({ kind: "self", user: r.user });
    this.#beat = Math.max(0, Math.min(r.heartbeat_ms, longestWait));
    if (this.epoch !== "" && this.epoch !== r.epoch) chats.reset(this, r.epoch);
    this.epoch = r.epoch;
    marks.tellConnection(this, now);
    this.setLink({ link: "syncing" });
    this.sync = { ...resume.noSync(), due: true, first: true };
  }

  /**
   * Takes a line that the server said, without its end. What it throws is a
   * GrimaError; the connection is of no use after it.
   */
  line(now: number, line: string | Uint8Array): void {
    let f: Frame;
    try {
      f = decodeFrame(line);
    } catch (err) {
      if (err instanceof Fault) throw broke("a line that is none: " + err.message);
      throw err;
    }
    this.#heard = now;
    this.#frame(now, f);
    resume.pump(this, now);
  }

  #frame(now: number, f: Frame): void {
    switch (f.kind) {
      case "Hello":
        this.hello = f.frame;
        if (f.frame.protocol !== protocolVersion) {
          const message = `the server speaks version ${f.frame.protocol} of the protocol, and this client ${protocolVersion}`;
          throw new GrimaError({ reason: "login", code: "unsupported_version", message });
        }
        return;
      case "Ping":
        this.#write(now, encodeFrame({ ...f.frame, type: "Pong" }));
        return;
      case "Response":
        if (f.frame.type !== "Pong") this.#take(now, f.frame);
        return;
      case "ErrorFrame": {
        // It answers a line of ours that was no request to the server. With an id
        // it is that of an operation; without, nobody can tell.
        const { id, error } = f.frame;
        if (id === undefined) throw broke(`it could not read a line of ours: ${error.message} (${error.code})`);
        this.#take(now, { type: "", id, error });
        return;
      }
      case "Goodbye":
        throw this.#goodbye(f.frame);
      case "Event":
        if (this.ready) chats.event(this, now, f.frame);
    }
  }

  #goodbye(g: Goodbye): GrimaError {
    const after = Math.max(0, Math.min(g.reconnect_after_ms ?? 0, longestWait));
    this.#least = after;
    this.#exact = after > 0;
    const message = `the server said goodbye: ${g.message} (${g.code})`;
    return new GrimaError({ reason: "goodbye", code: g.code, message, reconnect: g.reconnect, retryAfterMs: after });
  }

  #take(now: number, r: AnswerFrame): void {
    const id = r.id !== undefined && /^[0-9]{1,15}$/.test(r.id) ? Number(r.id) : -1;
    const a = this.asks.get(id);
    if (!a || (r.op !== undefined && r.op !== a.op)) throw broke("an answer to something that was not asked");
    this.asks.delete(id);
    a.done = true;
    if (r.error?.retry_after_ms && r.error.retry_after_ms < 0) r.error.retry_after_ms = 0;
    const result = r.error ? null : decodeResult(a.op, r.result ?? null);
    if (a.answer) {
      this.taking = id;
      a.answer(now, result as Json, r.error);
    } else this.answered.push(r.error ? { ask: id, error: refused(r.error) } : { ask: id, result });
  }

  /** A good part of a long line has come: the server is alive, and has yet to answer what is behind it. */
  progress(now: number): void {
    this.#heard = now;
    for (const a of this.asks.values()) a.at = now;
  }

  /** Does what is due at now. Throws as line, or when nothing was heard for too long. */
  tick(now: number): void {
    if (!this.#up) return;
    const d = this.#silence();
    const oldest = this.#oldest();
    if (!this.ready && now >= this.#began + this.cfg.dialTimeoutMs) {
      throw new GrimaError({ reason: "network", message: "the server did not answer the login in time" });
    }
    if (now >= this.#heard + d) {
      throw new GrimaError({ reason: "network", message: `nothing was heard of the server for ${d} ms` });
    }
    if (oldest && now >= oldest.at + answerTime) throw broke(`no answer to ${oldest.op} within ${answerTime} ms`);
    if (this.ready && this.#beat <= 0 && now >= this.#spoke + this.cfg.heartbeatMs) this.#write(now, encodeFrame({ type: "Ping" }));
    resume.pump(this, now);
  }

  /** Asks the server for a sign of life within patience ms, as after the machine slept. */
  probe(now: number, patience: number): void {
    if (!this.ready) return;
    this.#write(now, encodeFrame({ type: "Ping" }));
    this.#heard = Math.min(this.#heard, now + patience - this.#silence());
  }

  #oldest(): Ask | undefined {
    for (const a of this.asks.values()) return a;
    return undefined;
  }

  /** After how much silence a connection is given up. */
  #silence(): number {
    return ((this.#beat > 0 ? this.#beat : this.cfg.heartbeatMs) * 5) / 2;
  }

  /** When tick is due next; Infinity: never. */
  deadline(): number {
    if (!this.#up) return Infinity;
    let next = this.#heard + this.#silence();
    if (!this.ready) return Math.min(next, this.#began + this.cfg.dialTimeoutMs);
    const oldest = this.#oldest();
    if (oldest) next = Math.min(next, oldest.at + answerTime);
    if (this.#beat <= 0) next = Math.min(next, this.#spoke + this.cfg.heartbeatMs);
    for (const b of this.boxes.values()) {
      if (!b.trying && b.items.length > 0 && b.notBefore > 0) next = Math.min(next, b.notBefore);
    }
    for (const e of this.work) if (e.notBefore > 0) next = Math.min(next, e.notBefore);
    const y = this.sync;
    if ((y.due || y.heard) && y.notBefore > 0) next = Math.min(next, y.notBefore);
    return next;
  }

  /** The clock was put back by so much: what was heard, and what is waited for, is put back with it. */
  putBack(by: number): void {
    this.#began -= by;
    this.#heard -= by;
    this.#spoke -= by;
    for (const a of this.asks.values()) a.at -= by;
    for (const x of [...this.boxes.values(), ...this.chats.values(), this.sync]) if (x.notBefore > 0) x.notBefore -= by;
    if (this.typed) this.typed.at -= by;
    if (this.#link.retryAt !== undefined) this.setLink({ ...this.#link, retryAt: this.#link.retryAt - by });
  }

  /** Takes the lines that are to be written, without their ends. */
  output(): string[] {
    const out = this.#out;
    this.#out = [];
    return out;
  }

  /** Takes at most max events from those that wait, in order. Room made by it is used at the next tick. */
  take(max: number): Event[] {
    return this.queue.take(max);
  }

  /** How many events take would give. */
  get waiting(): number {
    return this.queue.length;
  }

  /** Asks an operation on this connection and returns the number that its answer will have. Throws a GrimaError. */
  ask(now: number, op: string, params: unknown): number {
    if (!this.ready) throw new GrimaError({ reason: "offline", message: "not connected" });
    return this.request(now, { id: 0, op, at: 0, done: false }, params);
  }

  /** Takes the answers that came. */
  answers(): Answer[] {
    const a = this.answered;
    this.answered = [];
    return a;
  }

  /** @internal Asks something for the session itself. What answer gets is shaped as the result of op. */
  askFor<O extends Operation>(
    now: number,
    op: O,
    params: Operations[O]["params"],
    answer: (now: number, result: Operations[O]["result"], error: ErrorBody | undefined) => void,
  ): void {
    const a: Ask = { id: 0, op, at: 0, done: false, answer: answer as unknown as NonNullable<Ask["answer"]> };
    try {
      this.request(now, a, params);
    } catch (err) {
      if (!(err instanceof GrimaError)) throw err;
      this.unasked = broke(`${op} cannot be asked: ${err.message}`);
    }
  }

  /** @internal */
  request(now: number, a: Ask, params: unknown): number {
    const id = this.lastId + 1;
    const body = JSON.stringify(params ?? {});
    const line = `{"type":${JSON.stringify(frameOf(a.op))},"id":${id},"op":${JSON.stringify(a.op)},"params":${body}}`;
    const said = this.hello?.limits.max_frame ?? 0;
    const most = said > 0 ? said : limits.maxFrame;
    const n = line.length * 3 <= most ? 0 : utf8Length(line);
    if (n > most) {
      const message = `the request has ${n} bytes, and the server takes ${most}`;
      throw new GrimaError({ reason: "refused", code: "frame_too_large", message });
    }
    this.lastId = a.id = id;
    a.at = now;
    this.asks.set(id, a);
    this.#write(now, line);
    return id;
  }

  #write(now: number, line: string): void {
    this.#out.push(line);
    this.#spoke = now;
  }

  /** @internal */
  setLink(c: Connection): void {
    this.#link = c;
    this.queue.only({ kind: "connection", connection: c });
  }

  /** Ends the connection, or the try to make one, for the reason err. */
  lost(now: number, err: GrimaError): void {
    if (this.ready && now - this.#began >= steady && err.reason !== "server") this.#failures = 0;
    this.#up = this.ready = false;
    this.#out = [];
    for (const a of this.asks.values()) {
      if (a.answer) continue;
      const message = "the connection was lost before the answer came; it may have happened";
      this.answered.push({ ask: a.id, error: new GrimaError({ reason: "unknown_outcome", message }) });
    }
    this.asks.clear();
    this.reserved = 0;
    this.sync = resume.noSync();
    sending.lost(this);
    for (const e of this.chats.values()) e.asking = false;
    if (permanent(err)) {
      this.#stopped = err;
      this.setLink({ link: "stopped", error: err.toFailure() });
      return;
    }
    this.setLink({ link: "offline", retryAt: now + this.#backoff(), error: err.toFailure() });
  }

  /**
   * How long to wait before the next try: a random time, of which the bound
   * doubles with every failure, but what the server asked for at least.
   */
  #backoff(): number {
    const tries = this.#failures++;
    const least = this.#least;
    const exact = this.#exact;
    this.#least = 0;
    this.#exact = false;
    return exact && tries === 0 ? least : least + backoff(this.cfg, tries);
  }

  /** Ends the session for good. */
  stop(now: number): void {
    if (!this.#stopped) this.lost(now, new GrimaError({ reason: "closed", message: "the client is closed" }));
  }

  // The outbox: sending.ts.

  /** What is in the outbox, in the order it was queued. */
  outbox(): Item[] {
    return sending.outbox(this);
  }

  /** Makes an item of a draft, with an id. What no server would take, and what is in the outbox already, throws. */
  draft(now: number, d: Draft): Item {
    return sending.draft(this, now, d);
  }

  /** Puts an item of draft into the outbox. */
  enqueue(now: number, it: Item): void {
    sending.enqueue(this, it);
    resume.pumpSoon(this, now);
  }

  /** Tries a failed item again. */
  retry(now: number, id: string): void {
    sending.retry(this, id);
    resume.pumpSoon(this, now);
  }

  /** Takes an item out of the outbox. Reports whether it was never tried. */
  discard(id: string): boolean {
    return sending.discard(this, id);
  }

  // What is said about oneself: marks.ts.

  /** Moves one's read mark up to seq, here at once and on the server when there is a connection. */
  markRead(now: number, chatId: string, seq: number): void {
    marks.markRead(this, chatId, seq);
    resume.pumpSoon(this, now);
  }

  /** Which chats are on the screen. */
  focus(now: number, chatIds: readonly string[]): void {
    marks.focus(this, now, chatIds);
  }

  /** Whether a person looks. */
  setActive(now: number, active: boolean): void {
    marks.setActive(this, now, active);
  }

  typing(now: number, chatId: string, stop: boolean): void {
    marks.typing(this, now, chatId, stop);
  }

  // The chats: chats.ts.

  /** The chats the user is in, latest activity first. */
  list(): Chat[] {
    return chats.sorted([...this.chats.values()].filter((e) => e.known).map(chats.snapshot));
  }

  chat(id: string): Chat | undefined {
    const e = this.chats.get(id);
    return e?.known ? chats.snapshot(e) : undefined;
  }
}
