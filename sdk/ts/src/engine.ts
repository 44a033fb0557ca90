import type { Config, WebSocketConstructor, WebSocketLike } from "./api.js";
import { recount } from "./chats.js";
import type { Command } from "./commands.js";
import { asGrimaError, broke, GrimaError, permanent, stoppedError } from "./errors.js";
import { Keeping } from "./keeping.js";
import { repeatable } from "./operations.js";
import { misdirected } from "./roles.js";
import { Screens, type Screen } from "./screens.js";
import { Session } from "./session.js";
import { sessionConfig } from "./settings.js";
import { address, closed, globalSocket } from "./socket.js";
import type { Draft, Event, Item, Store } from "./types.js";

const subprotocol = "grima.v1.json";
const takeAtOnce = 256;
/** How long a server may take to show that it is still there, after the machine slept. */
const probeTime = 5000;
/** Bounds a line of the server's: see the Go SDK. */
const maxLine = 8 << 20;
/** How the engine tells: the promise, if any, is waited for before more is told. */
export type Deliver = (events: readonly Event[]) => void | Promise<void>;

interface Waiter {
  resolve: (result: unknown) => void;
  reject: (err: GrimaError) => void;
}

/** The connection of a client: it drives a Session with a WebSocket, a store and timers. */
export class Engine {
  readonly #cfg: Config;
  #url: string;
  readonly #socket: WebSocketConstructor;
  readonly #store: Store | undefined;
  readonly #deliver: Deliver;
  #s: Session;
  #ws: WebSocketLike | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #clock = 0; // what the time was last
  #dialEnds = 0; // while a WebSocket is being opened
  #waiters = new Map<number, Waiter>();
  #unconnected = new Set<() => void>(); // calls that wait for a connection
  #greeted: unknown; // the Hello that was told
  #draining: Promise<void> | undefined;
  readonly #keeping: Keeping;
  #closed = false;
  #failed: GrimaError | undefined; // the store did
  readonly #onfail: ((why: GrimaError) => void) | undefined;
  #forgetting = false; // what is kept is another user's, and about to go
  readonly #screens = new Screens();

  /** onfail hears that the store failed, and has to close the engine, which tells nothing any more; without it the engine stops and tells that. */
  constructor(cfg: Config, session: Session, deliver: Deliver, onfail?: (why: GrimaError) => void) {
    this.#cfg = cfg;
    this.#url = address(cfg.url);
    this.#socket = cfg.WebSocket ?? globalSocket();
    this.#store = cfg.store;
    this.#deliver = deliver;
    this.#onfail = onfail;
    this.#keeping = new Keeping(cfg.store, (err) => this.#storeFailed(err));
    this.#s = session;
  }

  /**
   * The time. A clock that is put back, as by a person, puts back with it what is
   * waited for: nobody waits for as long as that was.
   */
  #now(): number {
    const now = Date.now();
    const by = this.#clock - now;
    this.#clock = now;
    if (by > 0) {
      if (this.#dialEnds > 0) this.#dialEnds -= by;
      this.#s.putBack(by);
      this.#screens.putBack(by);
    }
    return now;
  }

  /** Begins. */
  start(): void {
    this.#dial();
  }

  /** Why it stopped. */
  get stopped(): GrimaError | undefined {
    return this.#s.stopped;
  }

  /** Ends it, and waits until what was told is kept. */
  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#drop();
      this.#s.stop(this.#now());
      this.#after();
    }
    await this.#draining;
    await this.flush().catch(() => undefined); // what is not kept is told again
  }

  #dial(): void {
    if (this.#closed || this.#s.stopped) return;
    this.#s.dialing();
    let ws: WebSocketLike;
    try {
      ws = new this.#socket(this.#url, subprotocol);
    } catch (err) {
      return this.#lost(asGrimaError(err, "network", "connecting"));
    }
    this.#ws = ws;
    this.#dialEnds = this.#now() + (this.#cfg.dialTimeoutMs ?? 30_000);
    ws.onopen = () => {
      if (ws !== this.#ws) return;
      this.#dialEnds = 0;
      this.#try((s, now) => s.connected(now));
    };
    ws.onmessage = (ev: { data: unknown }) => {
      if (ws !== this.#ws) return;
      this.#try((s, now) => {
        if (typeof ev.data !== "string") throw broke("a binary message");
        if (ev.data.length > maxLine) throw broke(`a message of more than ${maxLine} bytes`);
        s.line(now, ev.data);
      });
    };
    ws.onerror = () => undefined; // a close follows, which says what there is to say
    ws.onclose = (ev: { code: number; reason?: string }) => {
      if (ws !== this.#ws) return;
      const err = closed(ev.code, ev.reason ?? "");
      if (this.#dialEnds > 0 && this.#cfg.auth !== "cookie") void this.#refused(ws, err);
      else this.#lost(err);
    };
    this.#after();
  }

  /** Does something with the session; what it throws ends the connection. */
  #try(work: (s: Session, now: number) => void): void {
    try {
      work(this.#s, this.#now());
    } catch (err) {
      if (!(err instanceof GrimaError)) throw err;
      return this.#lost(err);
    }
    this.#after();
  }

  /** Lets go of the WebSocket. */
  #drop(): void {
    const ws = this.#ws;
    this.#ws = undefined;
    this.#dialEnds = 0;
    if (!ws) return;
    ws.onopen = ws.onmessage = ws.onclose = null;
    ws.onerror = () => undefined;
    try {
      ws.close();
    } catch {
      // One that is still being opened may not be closed; it is of nobody now.
    }
  }

  /** A WebSocket was not opened for the reason err. Is it served elsewhere? */
  async #refused(ws: WebSocketLike, err: GrimaError): Promise<void> {
    let why = err;
    try {
      const { refusedElsewhere } = await import("./elsewhere.js");
      why = (await refusedElsewhere(this.#url, AbortSignal.timeout(Math.max(this.#dialEnds - this.#now(), 1)))) ?? err;
    } catch (failed) {
      // A part of the program that cannot be had: the next try may have it.
      why = asGrimaError(failed, "network", `${err.message}; asking where it is served instead`);
    }
    if (ws === this.#ws) this.#lost(why);
  }

  /**
   * Makes the next connections to where err sends the client. It gives an error
   * that is no reason to stop, or err if there is nowhere to go. Where the client
   * was sent and came to nothing, it asks anew where to go.
   */
  #follow(err: GrimaError): GrimaError {
    const to = misdirected(this.#cfg, err, "https:", "wss:", "http:", "ws:");
    if (!to) {
      if (!this.#s.ready && !permanent(err)) this.#url = address(this.#cfg.url);
      return err;
    }
    const url = address(to.href);
    if (url === this.#url) return err;
    this.#url = url;
    return new GrimaError({ reason: "network", message: `live connections are served by ${to.origin}` });
  }

  #lost(err: GrimaError): void {
    this.#drop();
    err = this.#follow(err);
    if (err.reason === "other_user" && this.#cfg.otherUser === "forget") {
      this.#forget().catch((e: unknown) => this.#keeping.fail(e));
      return;
    }
    this.#s.lost(this.#now(), err);
    this.#after();
  }

  /** Empties the store, which is another user's, and begins anew. */
  async #forget(): Promise<void> {
    const was = this.#s;
    this.#forgetting = true;
    const discarded: Event[] = was.outbox().map((item) => ({ kind: "outbox", chatId: item.chatId, item: { ...item, progress: "discarded" } }));
    const drafts = [...((await this.#store?.drafts()) ?? new Map<string, string>()).keys()];
    was.take(Infinity);
    await this.#keeping.clear();
    if (this.#closed) return;
    await this.#deliver([{ kind: "reset", epoch: "" }, ...discarded, ...drafts.map((chatId): Event => ({ kind: "draft", chatId, text: "" }))]);
    this.#s = new Session(sessionConfig(this.#cfg));
    this.#forgetting = false;
    this.#screens.apply(this.#s, this.#now());
    this.#dial();
  }

  /** Passes on what came of something. */
  #after(): void {
    const s = this.#s;
    const ws = this.#ws;
    if (ws && this.#dialEnds === 0) {
      try {
        for (const line of s.output()) ws.send(line);
      } catch (err) {
        return this.#lost(asGrimaError(err, "network", "writing to the server"));
      }
    }
    for (const a of s.answers()) {
      const w = this.#waiters.get(a.ask);
      this.#waiters.delete(a.ask);
      if (a.error) w?.reject(a.error);
      else w?.resolve(a.result);
    }
    if (s.ready || s.stopped) {
      const waiting = [...this.#unconnected];
      this.#unconnected.clear();
      for (const go of waiting) go();
    }
    this.#drain();
    this.#schedule();
  }

  /** Tells what waits, and sees that the store has it. */
  #drain(): void {
    const { waiting, hello } = this.#s;
    if (this.#draining || this.#failed || (waiting === 0 && (!hello || hello === this.#greeted))) return;
    const work = async (): Promise<void> => {
      for (;;) {
        if (this.#failed) return;
        const s = this.#s;
        const evs = s.take(takeAtOnce);
        if (s.hello && s.hello !== this.#greeted) {
          this.#greeted = s.hello;
          evs.unshift({ kind: "hello", hello: s.hello });
        }
        if (evs.length === 0) return;
        if (evs.some((ev) => ev.kind === "synced")) this.#screens.synced();
        await this.#deliver(evs);
        if (s !== this.#s || this.#forgetting) continue; // what is another user's is not kept
        await this.#keeping.keep(evs, !this.#closed);
        if (!this.#closed) this.#tick(); // there is room
      }
    };
    // Before work begins: what listeners ask for while they are told comes here
    // again, and is told, and kept, behind what they are being told.
    let over = (): void => undefined;
    this.#draining = new Promise((done) => (over = done));
    void work()
      .catch((err: unknown) => this.#keeping.fail(err))
      .finally(() => {
        this.#draining = undefined;
        over();
        this.#after();
      });
  }

  /** Waits until the store has what was told up to now. Rejects when the store failed. */
  flush(): Promise<void> {
    return this.#keeping.flush();
  }

  /** Without the store the next start would miss what came since: the client stops. */
  #storeFailed(err: unknown): void {
    const why = (this.#failed = asGrimaError(err, "store", "keeping the client's state"));
    if (this.#onfail) return this.#onfail(why);
    this.#drop();
    this.#s.stop(this.#now());
    void this.#deliver([{ kind: "connection", connection: { link: "stopped", error: why.toFailure() } }]);
    this.#closed = true;
    this.#after();
  }

  #tick(): void {
    const now = this.#now();
    if (this.#dialEnds > 0 && now >= this.#dialEnds) {
      return this.#lost(new GrimaError({ reason: "network", message: "the server could not be reached in time" }));
    }
    this.#screens.watch(this.#s, now);
    this.#try((s) => s.tick(now));
  }

  /** Sets the timer for what is due next. */
  #schedule(): void {
    clearTimeout(this.#timer);
    const s = this.#s;
    if (this.#closed || s.stopped) return;
    const now = this.#now();
    const c = s.connection;
    let due = s.deadline();
    if (this.#dialEnds > 0) due = Math.min(due, this.#dialEnds);
    due = Math.min(due, this.#screens.due(s));
    if (!this.#ws) due = c.link === "offline" ? (c.retryAt ?? 0) : Infinity;
    if (due === Infinity) return;
    // Browsers take a longer time for none.
    const wait = Math.min(Math.max(0, due - now), 0x7fffffff);
    this.#timer = setTimeout(() => (this.#ws ? this.#tick() : this.#redial()), wait);
  }

  #redial(): void {
    const now = this.#now();
    const c = this.#s.connection;
    if (c.link === "offline" && now >= (c.retryAt ?? 0)) this.#dial();
    else this.#schedule();
  }

  // What the world says.

  /** Tries at once. */
  reconnect(): void {
    if (!this.#ws && this.#s.connection.link === "offline") this.#dial();
  }

  /** The network came back, or the page is looked at again: is the connection still there? */
  probe(): void {
    if (this.#ws && this.#dialEnds === 0) this.#try((s, now) => s.probe(now, probeTime));
    else this.reconnect();
  }

  /** The network is gone. */
  offline(): void {
    if (this.#ws) this.#lost(new GrimaError({ reason: "network", message: "there is no network" }));
  }

  // What is asked of it.

  /** Carries out a command of a tab. */
  async request(c: Command, tab: string, signal?: AbortSignal): Promise<unknown> {
    switch (c.do) {
      case "call":
        return await this.#call(c.op, c.params, signal);
      case "queue":
        return await this.#queue(c.draft);
      case "retry":
        if (c.again && !this.#has(c.id)) return undefined;
        await this.#retry(c.id);
        break;
      case "discard": {
        if (c.again && !this.#has(c.id)) return false; // the answer of then is lost: it may have been tried
        const unsent = this.#s.discard(c.id);
        this.#after();
        await this.#keeping.drop(c.id);
        return unsent;
      }
      case "markRead":
        this.#s.markRead(this.#now(), c.chatId, c.seq);
        break;
      case "typing":
        this.#s.typing(this.#now(), c.chatId, c.stop);
        break;
      case "screen":
        this.setScreen(tab, c.screen);
        break;
      case "reconnect":
        this.reconnect();
        break;
    }
    this.#after();
    return undefined;
  }

  #has(id: string): Item | undefined {
    return this.#s.outbox().find((x) => x.id === id);
  }

  /** Tries a failed item again; one that has not failed stays as it is. */
  async #retry(id: string): Promise<void> {
    const it = this.#has(id);
    if (it && it.progress !== "failed") return;
    if (it) await this.#put({ ...it, progress: "pending" });
    try {
      this.#s.retry(this.#now(), id); // it says so if there is none
    } catch (err) {
      if (it) await this.#keeping.drop(id); // it was discarded meanwhile
      throw err;
    }
  }

  async #queue(d: Draft): Promise<Item> {
    // A tab asks again when it does not know whether this was heard.
    const had = d.id === undefined ? undefined : this.#has(d.id);
    if (had) return had;
    const it = this.#s.draft(this.#now(), d);
    await this.#put(it);
    const meanwhile = this.#has(it.id);
    if (meanwhile) return meanwhile;
    if (this.#closed) throw new GrimaError({ reason: "closed", message: "the client is closed" });
    this.#s.enqueue(this.#now(), it);
    this.#after();
    return it;
  }

  /** Keeps something of the outbox, which is sent only as who wrote it. */
  async #put(it: Item): Promise<void> {
    const s = this.#s;
    if (!this.#forgetting) await this.#keeping.put(it);
    if (this.#forgetting || s !== this.#s) throw new GrimaError({ reason: "other_user", message: "another user is logged in by now" });
  }

  async #call(op: string, params: unknown, signal?: AbortSignal): Promise<unknown> {
    for (;;) {
      signal?.throwIfAborted();
      const s = this.#s;
      if (s.stopped) throw (this.#onfail ? undefined : this.#failed) ?? stoppedError(s.stopped);
      try {
        if (s.ready) {
          const result = await this.#ask(op, params, signal);
          this.#followUp(op, params);
          return result;
        }
        await this.#connected(signal);
      } catch (err) {
        if (!(err instanceof GrimaError)) throw err;
        const elsewhere = misdirected(this.#cfg, err, "https:", "http:");
        if (elsewhere) {
          const { askElsewhere } = await import("./elsewhere.js");
          return await askElsewhere(this.#cfg, elsewhere, op, params, repeatable(op, params), signal);
        }
        const again = err.reason === "offline" || (err.reason === "unknown_outcome" && repeatable(op, params));
        if (!again) throw err;
      }
    }
  }

  /** What changed by a call and is told by an event that may be lost is asked for. */
  #followUp(op: string, params: unknown): void {
    const { chat_id, notify } = (params ?? {}) as { chat_id?: string; notify?: string };
    const e = op === "participants.update" && notify !== undefined ? this.#s.chats.get(chat_id ?? "") : undefined;
    if (!e) return;
    this.#try((s, now) => {
      recount(s, e);
      s.tick(now);
    });
  }

  #ask(op: string, params: unknown, signal?: AbortSignal): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = this.#s.ask(this.#now(), op, params);
      const abort = (): void => {
        this.#waiters.delete(id);
        reject(signal!.reason as Error);
      };
      const end = (): void => signal?.removeEventListener("abort", abort);
      this.#waiters.set(id, {
        resolve: (r) => (end(), resolve(r)),
        reject: (e) => (end(), reject(e)),
      });
      signal?.addEventListener("abort", abort, { once: true });
      this.#after();
    });
  }

  #connected(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#unconnected.delete(go);
        reject(signal!.reason as Error);
      };
      const go = (): void => {
        signal?.removeEventListener("abort", abort);
        resolve();
      };
      this.#unconnected.add(go);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  // What is on the screens of the tabs.

  /** What a tab has on its screen; undefined: the tab is gone. */
  setScreen(tab: string, screen: Screen | undefined): void {
    if (!this.#screens.set(tab, screen)) return;
    this.#screens.apply(this.#s, this.#now());
    this.#after();
  }
}
