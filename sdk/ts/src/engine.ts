import type { Config, WebSocketConstructor, WebSocketLike } from "./api.js";
import { recount } from "./chats.js";
import { asGrimaError, broke, GrimaError } from "./errors.js";
import { goodbyeCodes } from "./protocol.gen.js";
import { misdirected } from "./roles.js";
import { permanent, Session, type SessionConfig } from "./session.js";
import type { Draft, Event, Item, Store } from "./types.js";

/** What is asked of whoever has the connection. It is data: it may come from another tab. */
export type Command =
  | { do: "call"; op: string; params: unknown }
  | { do: "queue"; draft: Draft }
  | { do: "retry" | "discard"; id: string }
  | { do: "markRead"; chatId: string; seq: number }
  | { do: "typing"; chatId: string; stop: boolean }
  | { do: "screen"; screen: Screen }
  | { do: "reconnect" };

/** What a tab has on its screen. */
export interface Screen {
  focus?: readonly string[];
  active?: boolean;
  watch?: readonly string[];
}

/** The operations that are harmless to ask twice (docs/protocol.md#idempotency). */
const repeated = new Set<string>([
  "sync", "changes.list", "chats.list", "chats.browse", "chats.get", "participants.list", "messages.list", "messages.get",
  "users.me", "users.get", "users.list", "sessions.list", "invites.list", "presence.get", "chats.update",
  "participants.add", "participants.update", "read.set", "message.edit", "message.delete",
]);

/** Whether a call may be asked again when its outcome is unknown. */
export function repeatable(op: string, params: unknown): boolean {
  const p = (params ?? {}) as { kind?: unknown; client_chat_id?: unknown; client_msg_id?: unknown };
  if (op === "chats.create" || op === "message.send") return p.kind === "private" || Boolean(p.client_chat_id ?? p.client_msg_id);
  return repeated.has(op);
}

const subprotocol = "grima.v1.json";
const takeAtOnce = 256;
/** How often the store is written at most while much happens, in ms. */
const takeEvery = 100;
/** How many events the store may be behind before no more are told. */
const maxUntaken = 1024;
/** How long a server may take to show that it is still there, after the machine slept. */
const probeTime = 5000;
/** Bounds a line of the server's: see the Go SDK. */
const maxLine = 8 << 20;
/** A watch is kept up this long before it is over. */
const watchAhead = 30_000;

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
  #dialEnds = 0; // while a WebSocket is being opened
  #waiters = new Map<number, Waiter>();
  #unconnected = new Set<() => void>(); // calls that wait for a connection
  #greeted: unknown; // the Hello that was told
  #draining: Promise<void> | undefined;
  #untaken: Event[] = []; // what was told, and the store does not have
  #taking: Promise<void> | undefined; // the store's taking of some
  #takenAt = 0; // when that began last
  #taker: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  #failed: GrimaError | undefined; // the store did
  #screens = new Map<string, Screen>();
  #watchUntil = 0;
  #watching = "";

  constructor(cfg: Config, session: Session, deliver: Deliver) {
    this.#cfg = cfg;
    this.#url = address(cfg.url);
    this.#socket = cfg.WebSocket ?? globalSocket();
    this.#store = cfg.store;
    this.#deliver = deliver;
    this.#s = session;
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
      this.#s.stop(Date.now());
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
    this.#dialEnds = Date.now() + (this.#cfg.dialTimeoutMs ?? 30_000);
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
      work(this.#s, Date.now());
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
    const { refusedElsewhere } = await import("./elsewhere.js");
    const elsewhere = await refusedElsewhere(this.#url, AbortSignal.timeout(Math.max(this.#dialEnds - Date.now(), 1)));
    if (ws === this.#ws) this.#lost(elsewhere ?? err);
  }

  /**
   * Makes the next connections to where err sends the client. It gives an error
   * that is no reason to stop, or err if there is nowhere to go.
   */
  #follow(err: GrimaError): GrimaError {
    const to = misdirected(this.#cfg, err, "https:", "wss:", "http:", "ws:");
    const url = to && address(to.href);
    if (url === undefined || url === this.#url) return err;
    this.#url = url;
    return new GrimaError({ reason: "network", message: `live connections are served by ${to!.origin}` });
  }

  #lost(err: GrimaError): void {
    this.#drop();
    err = this.#follow(err);
    if (err.reason === "other_user" && this.#cfg.otherUser === "forget") {
      this.#forget().catch((e: unknown) => this.#storeFailed(e));
      return;
    }
    this.#s.lost(Date.now(), err);
    this.#after();
  }

  /** Empties the store, which is another user's, and begins anew. */
  async #forget(): Promise<void> {
    const was = this.#s;
    const discarded: Event[] = was.outbox().map((item) => ({ kind: "outbox", chatId: item.chatId, item: { ...item, progress: "discarded" } }));
    const drafts = [...((await this.#store?.drafts()) ?? new Map<string, string>()).keys()];
    was.take(Infinity);
    this.#untaken = [];
    await this.flush();
    await this.#store?.clear();
    if (this.#closed) return;
    await this.#deliver([{ kind: "reset", epoch: "" }, ...discarded, ...drafts.map((chatId): Event => ({ kind: "draft", chatId, text: "" }))]);
    this.#s = new Session(sessionConfig(this.#cfg));
    this.#applyScreens();
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
        if (evs.some((ev) => ev.kind === "synced")) this.#watchUntil = 0;
        await this.#deliver(evs);
        await this.#keep(evs);
        if (!this.#closed) this.#tick(); // there is room
      }
    };
    // Before work begins: what listeners ask for while they are told comes here
    // again, and is told, and kept, behind what they are being told.
    let over = (): void => undefined;
    this.#draining = new Promise((done) => (over = done));
    void work()
      .catch((err: unknown) => this.#storeFailed(err))
      .finally(() => {
        this.#draining = undefined;
        over();
        this.#after();
      });
  }

  /**
   * Has the store take events that were told: at once where little happens, else
   * what came in a while together. Waits when it is too far behind.
   */
  async #keep(evs: Event[]): Promise<void> {
    if (!this.#store) return;
    this.#untaken.push(...evs);
    const later = (): void => void this.flush().catch(() => undefined); // storeFailed told it
    const wait = this.#closed ? 0 : this.#takenAt + takeEvery - Date.now();
    if (wait <= 0 && !this.#taking) later();
    else this.#taker ??= setTimeout(later, Math.min(Math.max(wait, 0), takeEvery));
    if (this.#untaken.length >= maxUntaken) await this.flush();
  }

  /** Waits until the store has what was told up to now. Rejects when the store failed. */
  async flush(): Promise<void> {
    clearTimeout(this.#taker);
    this.#taker = undefined;
    await this.#taking;
    if (!this.#taking && this.#untaken.length > 0 && !this.#failed) this.#taking = this.#take();
    await this.#taking;
  }

  async #take(): Promise<void> {
    const evs = this.#untaken;
    this.#untaken = [];
    this.#takenAt = Date.now();
    try {
      await this.#store!.apply(evs);
    } catch (err) {
      this.#storeFailed(err);
      throw err;
    } finally {
      this.#taking = undefined;
    }
  }

  /** Without the store the next start would miss what came since: the client stops. */
  #storeFailed(err: unknown): void {
    if (this.#failed) return;
    const why = (this.#failed = asGrimaError(err, "store", "keeping the client's state"));
    this.#drop();
    this.#s.stop(Date.now());
    void this.#deliver([{ kind: "connection", connection: { link: "stopped", error: why.toFailure() } }]);
    this.#closed = true;
    this.#after();
  }

  #tick(): void {
    const now = Date.now();
    if (this.#dialEnds > 0 && now >= this.#dialEnds) {
      return this.#lost(new GrimaError({ reason: "network", message: "the server could not be reached in time" }));
    }
    this.#watch(now);
    this.#try((s) => s.tick(now));
  }

  /** Sets the timer for what is due next. */
  #schedule(): void {
    clearTimeout(this.#timer);
    const s = this.#s;
    if (this.#closed || s.stopped) return;
    const c = s.connection;
    let due = s.deadline();
    if (this.#dialEnds > 0) due = Math.min(due, this.#dialEnds);
    if (s.ready && this.#watching !== "" && this.#watchUntil > 0) due = Math.min(due, this.#watchUntil);
    if (!this.#ws) due = c.link === "offline" ? (c.retryAt ?? 0) : Infinity;
    if (due === Infinity) return;
    // Browsers take a longer time for none.
    const wait = Math.min(Math.max(0, due - Date.now()), 0x7fffffff);
    this.#timer = setTimeout(() => (this.#ws ? this.#tick() : this.#redial()), wait);
  }

  #redial(): void {
    const c = this.#s.connection;
    if (c.link === "offline" && Date.now() >= (c.retryAt ?? 0)) this.#dial();
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
        await this.#store?.put({ ...this.#item(c.id), progress: "pending" });
        this.#s.retry(Date.now(), c.id);
        break;
      case "discard": {
        const unsent = this.#s.discard(c.id);
        this.#after();
        await this.#store?.drop(c.id);
        return unsent;
      }
      case "markRead":
        this.#s.markRead(Date.now(), c.chatId, c.seq);
        break;
      case "typing":
        this.#s.typing(Date.now(), c.chatId, c.stop);
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

  #item(id: string): Item {
    const it = this.#s.outbox().find((x) => x.id === id);
    if (!it) throw new GrimaError({ reason: "refused", code: "not_found", message: "there is no such message in the outbox" });
    return it;
  }

  async #queue(d: Draft): Promise<Item> {
    // A tab asks again when it does not know whether this was heard.
    const had = this.#s.outbox().find((x) => x.id === d.id);
    if (had) return had;
    const it = this.#s.draft(Date.now(), d);
    await this.#store?.put(it);
    const meanwhile = this.#s.outbox().find((x) => x.id === it.id);
    if (meanwhile) return meanwhile;
    if (this.#closed) throw new GrimaError({ reason: "closed", message: "the client is closed" });
    this.#s.enqueue(Date.now(), it);
    this.#after();
    return it;
  }

  async #call(op: string, params: unknown, signal?: AbortSignal): Promise<unknown> {
    for (;;) {
      signal?.throwIfAborted();
      const s = this.#s;
      if (s.stopped) throw this.#failed ?? stoppedError(s.stopped);
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

  /** What changed by a call and is told by no event is asked for. */
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
      const id = this.#s.ask(Date.now(), op, params);
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
    if (screen) this.#screens.set(tab, screen);
    else if (!this.#screens.delete(tab)) return;
    this.#applyScreens();
    this.#after();
  }

  #applyScreens(): void {
    const s = this.#s;
    const all = [...this.#screens.values()];
    const now = Date.now();
    const said = all.filter((x) => x.focus !== undefined);
    if (said.length > 0) {
      const focus = [...new Set(said.flatMap((x) => x.focus ?? []))];
      if (!s.focused || focus.join() !== s.focused.join()) s.focus(now, focus);
    }
    if (all.length > 0) {
      const active = all.some((x) => x.active !== false);
      if (active !== (s.active ?? true)) s.setActive(now, active);
    }
    const watch = [...new Set(all.flatMap((x) => x.watch ?? []))].slice(0, 200).join();
    if (watch !== this.#watching) {
      const nobody = watch === "";
      this.#watching = watch;
      this.#watchUntil = 0;
      if (nobody && s.ready) this.#fire("presence.watch", { user_ids: [] });
    }
    this.#watch(now);
  }

  /** Asks for the presence of who is watched, when it is time. */
  #watch(now: number): void {
    const c = this.#s.connection.link;
    if (this.#watching === "" || c !== "online" || now < this.#watchUntil) return;
    this.#watchUntil = now + 60_000; // until the answer says how long
    this.#fire("presence.watch", { user_ids: this.#watching.split(",") });
  }

  /** Asks something of which the answer is told, if one comes. */
  #fire(op: "presence.watch", params: { user_ids: string[] }): void {
    this.#s.askFor(Date.now(), op, params, (now, r, failure) => {
      if (failure) return;
      if (params.user_ids.length > 0) this.#watchUntil = now + Math.max(r.expires_ms - watchAhead, watchAhead);
      for (const p of r.presence) this.#s.queue.put({ kind: "presence", userId: p.user_id, status: p.status });
    });
  }
}

/** Of a Config, what a Session needs. */
export function sessionConfig(c: Config): SessionConfig {
  const out: SessionConfig = { login: c.auth === "cookie" ? { mechanism: "COOKIE" } : { mechanism: "TOKEN", token: c.auth.token } };
  out.lazy = c.lazy ?? c.store !== undefined;
  out.maxCatchUp = c.maxCatchUp ?? 2000;
  for (const k of ["device", "agent"] as const) if (c[k] !== undefined) out[k] = c[k];
  for (const k of ["buffer", "maxOutbox", "timeline", "heartbeatMs", "dialTimeoutMs", "minBackoffMs", "maxBackoffMs"] as const) {
    if (c[k] !== undefined) out[k] = c[k];
  }
  return out;
}

/** Why a WebSocket was closed. */
function closed(code: number, reason: string): GrimaError {
  if (code >= 4000 && code < 5000) {
    // The Goodbye got lost, or was never there.
    const name = Object.entries(goodbyeCodes).find(([, n]) => n === code)?.[0] ?? String(code);
    const message = `the server said goodbye: ${reason || name}`;
    return new GrimaError({ reason: "goodbye", code: name, message, reconnect: code < 4500 });
  }
  return new GrimaError({ reason: "network", message: `the connection ended (${code}${reason ? ": " + reason : ""})` });
}

/** What a call gets when the client has stopped. */
export function stoppedError(why: GrimaError): GrimaError {
  return permanent(why) || why.reason === "store" ? why : new GrimaError({ reason: "closed", message: "the client is closed" });
}

/** The address of the WebSocket. */
export function address(url: string | undefined): string {
  const base = (globalThis as { location?: { href: string } }).location?.href;
  if (url === undefined && base === undefined) throw new TypeError("outside of a page a client needs the url of its server");
  const u = new URL(url ?? "/v1/ws", base);
  u.protocol = { "http:": "ws:", "https:": "wss:" }[u.protocol] ?? u.protocol;
  if (u.protocol !== "ws:" && u.protocol !== "wss:") throw new TypeError(`the server's address begins with https or wss, and not ${u.protocol}`);
  if (u.pathname === "/" || u.pathname === "") u.pathname = "/v1/ws";
  u.hash = "";
  return u.href;
}

function globalSocket(): WebSocketConstructor {
  const ws = (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  if (!ws) throw new TypeError("there is no WebSocket here: give Config.WebSocket one, as of the package ws");
  return ws;
}
