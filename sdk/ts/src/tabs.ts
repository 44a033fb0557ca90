import type { Config } from "./api.js";
import { Engine, repeatable, sessionConfig, type Command, type Screen } from "./engine.js";
import { asGrimaError, GrimaError, type Failure } from "./errors.js";
import { newId } from "./ids.js";
import { snapshotOf, type Snapshot } from "./mirror.js";
import { Session } from "./session.js";
import type { Event } from "./types.js";

// Tabs of one origin share a connection: the one that has the lock holds it, and
// the store's apply; the others send it their commands and get its events, over a
// BroadcastChannel. The lock goes to another when the tab is closed or dies.

/** What this file needs of the platform. */
export interface Platform {
  locks: Pick<LockManager, "request">;
  channel: (name: string) => Channel;
}

/** A BroadcastChannel. */
export interface Channel {
  onmessage: ((ev: MessageEvent) => void) | null;
  postMessage(message: unknown): void;
  close(): void;
}

/** What a client's backend tells it. */
export interface Audience {
  /** Events, in order; the promise is waited for before more is told. */
  tell(events: readonly Event[]): void | Promise<void>;
  /** What it was told, as a whole. */
  snapshot(): Snapshot;
  /** From here on it is told from another point: what leads there? */
  jump(to: Snapshot): void;
}

/** Whoever carries out what a client asks. */
export interface Backend {
  readonly leader: boolean;
  request(c: Command, signal?: AbortSignal): Promise<unknown>;
  screen(s: Screen): void;
  /** Tells other tabs of something that is no business of the connection. */
  relay(events: readonly Event[]): void;
  probe(): void;
  offline(): void;
  /** Waits until the store has what was told here; of another tab's telling nothing is known. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

const self = "self";

/** A backend of this client alone. */
export async function alone(cfg: Config, audience: Audience): Promise<Backend> {
  const state = await cfg.store?.load();
  if (state) audience.jump(snapshotOf(state));
  const engine = new Engine(cfg, new Session(sessionConfig(cfg), state), (evs) => audience.tell(evs));
  engine.start();
  return {
    leader: true,
    request: (c, signal) => engine.request(c, self, signal),
    screen: (s) => engine.setScreen(self, s),
    relay: () => undefined,
    probe: () => engine.probe(),
    offline: () => engine.offline(),
    flush: () => engine.flush(),
    close: () => engine.close(),
  };
}

/** How long a leader may take to answer a visible tab before it loses the lock: its tab may be frozen. */
const patience = 5000;

type Message =
  | { t: "who"; from: string }
  | { t: "state"; gen: number; n: number; snapshot: Snapshot }
  | { t: "events"; gen: number; n: number; events: readonly Event[] }
  | { t: "relay"; events: readonly Event[] }
  | { t: "ask"; from: string; id: number; command: Command }
  | { t: "abort"; from: string; id: number }
  | { t: "answer"; to: string; id: number; result?: unknown; failure?: Failure };

interface Pending {
  command: Command;
  signal: AbortSignal | undefined;
  posted: boolean;
  resolve: (v: unknown) => void;
  reject: (err: unknown) => void;
}

/** A backend that tabs share. */
export class Tabs implements Backend {
  readonly #cfg: Config;
  readonly #audience: Audience;
  readonly #platform: Platform;
  readonly #name: string;
  readonly #id = newId();
  readonly #channel: Channel;
  readonly #closing = new AbortController();
  #release: (() => void) | undefined; // gives the lock back
  #locked: Promise<unknown> = Promise.resolve();
  #lock: object | undefined; // the lock that is held, as the request that got it

  // As a follower.
  #gen = 0; // the leader that is followed; 0: none yet
  #n = 0; // the last of its events
  #attached = false;
  #pending = new Map<number, Pending>();
  #lastAsk = 0;
  #screen: Screen = {};
  #doubt: ReturnType<typeof setTimeout> | undefined; // whether the leader lives

  // As the leader.
  #engine: Engine | undefined;
  #known = new Map<string, AbortController>(); // tabs, and the watch on each
  #asked = new Map<string, AbortController>(); // what tabs asked

  constructor(cfg: Config, name: string, audience: Audience, platform: Platform) {
    this.#cfg = cfg;
    this.#audience = audience;
    this.#platform = platform;
    this.#name = "grima:" + name;
    this.#channel = platform.channel(this.#name);
    this.#channel.onmessage = (ev) => this.#hear(ev.data as Message);
    // Held for as long as the tab lives, for the leader to know.
    this.#hold(this.#name + ":tab:" + this.#id, () => new Promise<void>((done) => this.#closing.signal.addEventListener("abort", () => done())));
    this.#candidate(false);
    this.#post({ t: "who", from: this.#id });
  }

  get leader(): boolean {
    return this.#engine !== undefined;
  }

  #post(m: Message): void {
    if (!this.#closing.signal.aborted) this.#channel.postMessage(m);
  }

  #hold(name: string, work: () => Promise<void>, signal = this.#closing.signal): void {
    this.#platform.locks.request(name, { signal }, work).catch((err: unknown) => {
      if (!signal.aborted) console.error("grima: holding a lock failed", err);
    });
  }

  /** Waits for the lock, or takes it. */
  #candidate(steal: boolean): void {
    const options: LockOptions = steal ? { steal } : { signal: this.#closing.signal };
    const mine = {};
    this.#locked = this.#platform.locks
      .request(this.#name, options, async () => {
        const released = new Promise<void>((done) => (this.#release = done));
        this.#lock = mine;
        if (!this.#closing.signal.aborted) await this.#lead(mine);
        if (!this.#closing.signal.aborted) await released;
      })
      .catch((err: unknown) => {
        if (this.#lock === mine) this.#lock = undefined;
        if (this.#closing.signal.aborted) return;
        if ((err as { name?: string }).name !== "AbortError") this.#audience.tell([stopped(err)]);
        else this.#candidate(false); // it was taken from here
        void this.#follow();
      });
  }

  /** Takes the connection and the store. */
  async #lead(mine: object): Promise<void> {
    const state = await this.#cfg.store?.load();
    // A store may be slow, and the lock taken from who waits for it.
    if (this.#closing.signal.aborted || this.#lock !== mine) return;
    this.#settleDoubt();
    if (state) this.#audience.jump(snapshotOf(state));
    const gen = (this.#gen = Math.max(Date.now(), this.#gen + 1));
    this.#n = 0;
    this.#attached = true;
    const engine = new Engine(this.#cfg, new Session(sessionConfig(this.#cfg), state), (events) => {
      if (this.#engine !== engine) return;
      // That this tab is closed is no news to others: one of them goes on.
      const theirs = events.filter((ev) => ev.kind !== "connection" || ev.connection.error?.reason !== "closed");
      if (theirs.length > 0) this.#post({ t: "events", gen, n: ++this.#n, events: theirs });
      return this.#audience.tell(events);
    });
    this.#engine = engine;
    engine.setScreen(this.#id, this.#screen);
    engine.start();
    this.#announce();
    for (const [id, p] of [...this.#pending]) this.#askAgain(id, p);
  }

  /** Lets go of the connection: another tab has it. */
  async #follow(): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    this.#attached = false;
    for (const c of this.#known.values()) c.abort();
    this.#known.clear();
    for (const c of this.#asked.values()) c.abort();
    this.#asked.clear();
    this.#post({ t: "who", from: this.#id });
    await engine?.close();
  }

  #announce(): void {
    this.#post({ t: "state", gen: this.#gen, n: this.#n, snapshot: this.#audience.snapshot() });
  }

  #hear(m: Message): void {
    if (m.t === "relay") return void this.#audience.tell(m.events);
    if (this.#engine) this.#serve(this.#engine, m);
    else this.#heed(m);
  }

  /** What a leader hears. */
  #serve(engine: Engine, m: Message): void {
    switch (m.t) {
      case "state":
        // Two lead: one was frozen when the lock was taken from it.
        if (m.gen > this.#gen) void this.#follow().then(() => this.#candidate(false));
        return;
      case "who":
        this.#know(engine, m.from);
        return this.#announce();
      case "abort":
        return this.#asked.get(m.from + m.id)?.abort();
      case "ask": {
        this.#know(engine, m.from);
        const abort = new AbortController();
        const key = m.from + m.id;
        this.#asked.set(key, abort);
        const answer = (a: { result?: unknown; failure?: Failure }): void => {
          if (this.#asked.delete(key) && this.#engine === engine) this.#post({ t: "answer", to: m.from, id: m.id, ...a });
        };
        engine.request(m.command, m.from, abort.signal).then(
          (result) => answer({ result }),
          (err: unknown) => answer({ failure: asGrimaError(err, "closed", "").toFailure() }),
        );
      }
    }
  }

  /** Has a look at a tab, to know when it is gone. */
  #know(engine: Engine, tab: string): void {
    if (this.#known.has(tab)) return;
    const watch = new AbortController();
    this.#known.set(tab, watch);
    this.#hold(this.#name + ":tab:" + tab, async () => {
      this.#known.delete(tab);
      if (this.#engine === engine) engine.setScreen(tab, undefined);
    }, watch.signal);
  }

  /** What a follower hears. */
  #heed(m: Message): void {
    switch (m.t) {
      case "state":
        if (m.gen < this.#gen || (m.gen === this.#gen && this.#attached)) return this.#settleDoubt();
        return this.#attach(m.gen, m.n, m.snapshot);
      case "events":
        if (m.gen < this.#gen) return;
        this.#settleDoubt();
        if (m.gen > this.#gen || !this.#attached || m.n !== this.#n + 1) {
          this.#attached = false;
          return this.#post({ t: "who", from: this.#id });
        }
        this.#n = m.n;
        return void this.#audience.tell(m.events);
      case "answer": {
        if (m.to !== this.#id) return;
        this.#settleDoubt();
        const p = this.#pending.get(m.id);
        this.#pending.delete(m.id);
        if (m.failure) p?.reject(new GrimaError(m.failure));
        else p?.resolve(m.result);
      }
    }
  }

  #attach(gen: number, n: number, snapshot: Snapshot): void {
    this.#settleDoubt();
    const other = gen !== this.#gen;
    this.#gen = gen;
    this.#n = n;
    this.#attached = true;
    this.#audience.jump(snapshot);
    if (!other) return;
    this.#ask({ do: "screen", screen: this.#screen }).catch(() => undefined); // a leader that dies is followed by another
    for (const [id, p] of [...this.#pending]) this.#askAgain(id, p);
  }

  #ask(command: Command, signal?: AbortSignal): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastAsk;
      const p: Pending = { command, signal, posted: false, resolve, reject };
      this.#pending.set(id, p);
      const abort = (): void => {
        if (!this.#pending.delete(id)) return;
        this.#post({ t: "abort", from: this.#id, id });
        reject(signal!.reason as Error);
      };
      const end = (): void => signal?.removeEventListener("abort", abort); // it may be that of many
      p.resolve = (r) => (end(), resolve(r));
      p.reject = (err) => (end(), reject(err));
      signal?.addEventListener("abort", abort, { once: true });
      if (this.#attached) this.#askAgain(id, p);
      this.#suspect();
    });
  }

  /** Asks the leader of now, unless that could do it twice. */
  #askAgain(id: number, p: Pending): void {
    const c = p.command;
    if (p.posted && c.do === "call" && !repeatable(c.op, c.params)) {
      this.#pending.delete(id);
      const message = "the tab that had the connection was closed before the answer came; it may have happened";
      return p.reject(new GrimaError({ reason: "unknown_outcome", message }));
    }
    p.posted = true;
    if (!this.#engine) return this.#post({ t: "ask", from: this.#id, id, command: c });
    this.#pending.delete(id);
    this.#engine.request(c, this.#id, p.signal).then(p.resolve, p.reject);
  }

  /** Takes the lock from a leader that does not answer, if somebody is waiting here. */
  #suspect(): void {
    if (this.#engine || this.#doubt !== undefined || this.#closing.signal.aborted) return;
    this.#post({ t: "who", from: this.#id });
    this.#doubt = setTimeout(() => {
      this.#doubt = undefined;
      const doc = (globalThis as { document?: { visibilityState: string } }).document;
      if (this.#engine || this.#closing.signal.aborted || (doc && doc.visibilityState !== "visible")) return;
      this.#candidate(true);
    }, patience);
  }

  #settleDoubt(): void {
    clearTimeout(this.#doubt);
    this.#doubt = undefined;
  }

  request(c: Command, signal?: AbortSignal): Promise<unknown> {
    if (this.#closing.signal.aborted) return Promise.reject(new GrimaError({ reason: "closed", message: "the client is closed" }));
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    return this.#engine ? this.#engine.request(c, this.#id, signal) : this.#ask(c, signal);
  }

  screen(s: Screen): void {
    this.#screen = s;
    if (this.#engine) this.#engine.setScreen(this.#id, s);
    else if (this.#attached) this.#ask({ do: "screen", screen: s }).catch(() => undefined); // attaching says it again
  }

  relay(events: readonly Event[]): void {
    this.#post({ t: "relay", events });
  }

  probe(): void {
    if (this.#engine) this.#engine.probe();
    else this.#suspect();
  }

  offline(): void {
    this.#engine?.offline();
  }

  async flush(): Promise<void> {
    await this.#engine?.flush();
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    await this.#engine?.close();
    this.#settleDoubt();
    this.#closing.abort();
    this.#engine = undefined;
    for (const c of this.#known.values()) c.abort();
    for (const p of this.#pending.values()) p.reject(new GrimaError({ reason: "closed", message: "the client is closed" }));
    this.#pending.clear();
    this.#release?.();
    this.#channel.onmessage = null;
    this.#channel.close();
    await this.#locked.catch(() => undefined);
  }
}

function stopped(err: unknown): Event {
  return { kind: "connection", connection: { link: "stopped", error: asGrimaError(err, "store", "taking the connection").toFailure() } };
}
