import { AsyncLocalStorage } from "node:async_hooks";
import { GrimaError, type Channel, type Platform, type Store, type WebSocketLike } from "../src/index.js";
import type { Random, Wire, World } from "./world.js";

// A browser of values: tabs that can be frozen, hidden and killed, their timers,
// locks, channels, stores and sockets, on a clock that a test has in its hands.
// Whatever a tab does belongs to it, also what it does later; nothing of a frozen
// tab goes on before it thaws. Messages of one to another stay in order, and
// nothing else does.

interface Task {
  at: number;
  n: number;
  tab: Tab | undefined; // undefined: of the browser itself, or the server
  work: () => void;
}

const pause = setImmediate;

export class Browser {
  readonly r: Random;
  readonly world: World;
  readonly current = new AsyncLocalStorage<Tab>();
  readonly tabs: Tab[] = [];
  /** Effects of what is not to be done twice. */
  readonly effects = new Map<number, number>();
  /** How long a message takes, and an access to a store, in ms: one of these. */
  delays: readonly number[] = [0, 0, 0, 1, 1, 2, 5, 30];
  storeDelays: readonly number[] = [0, 1, 3];
  storeFails = false; // to be read
  up = true; // the server
  now = 1.7e12;
  skew = 0; // of the clock that tabs see
  #n = 0;
  #tasks: Task[] = [];
  #last = new Map<string, number>();
  readonly locks = new Map<string, Lock>();
  readonly channels = new Set<TabChannel>();
  readonly lines = new Map<Line, Wire>(); // the server's connections

  lock(name: string): Lock {
    let l = this.locks.get(name);
    if (!l) this.locks.set(name, (l = new Lock()));
    return l;
  }

  constructor(r: Random, world: World) {
    this.r = r;
    this.world = world;
  }

  tab(): Tab {
    const t = new Tab(this, this.tabs.length);
    this.tabs.push(t);
    return t;
  }

  get delay(): number {
    return this.r.pick(this.delays);
  }

  /** Lets work happen in a while; what has the same order happens in it. */
  later(tab: Tab | undefined, ms: number, work: () => void, order?: string): Task {
    let at = this.now + ms;
    if (order !== undefined) {
      at = Math.max(at, this.#last.get(order) ?? 0);
      this.#last.set(order, at);
    }
    const t: Task = { at, n: ++this.#n, tab, work };
    this.#put(t);
    return t;
  }

  #put(t: Task): void {
    let lo = 0;
    let hi = this.#tasks.length;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      const x = this.#tasks[mid]!;
      if (x.at < t.at || (x.at === t.at && x.n < t.n)) lo = mid + 1;
      else hi = mid;
    }
    this.#tasks.splice(lo, 0, t);
  }

  cancel(t: Task): void {
    this.#tasks = this.#tasks.filter((x) => x !== t);
    if (t.tab) t.tab.held = t.tab.held.filter((x) => x !== t);
  }

  /** Lets time pass, with everything that is due in it. */
  async pass(ms: number): Promise<void> {
    const end = this.now + ms;
    for (let n = 0; ; n++) {
      if (n > 200_000) throw new Error("it never comes to rest");
      await new Promise<void>((done) => pause(done));
      const t = this.#tasks[0];
      if (!t || t.at > end) break;
      this.#tasks.shift();
      this.now = Math.max(this.now, t.at);
      if (t.tab?.dead) continue;
      if (t.tab?.frozen) t.tab.held.push(t);
      else if (t.tab) this.current.run(t.tab, t.work);
      else this.current.exit(t.work);
    }
    this.now = end;
  }

  thaw(held: Task[]): void {
    for (const t of held) this.#put({ ...t, at: this.now, n: ++this.#n });
  }

  /** Puts what a page finds about itself into the global object; the result takes it out. */
  install(): () => void {
    const g = globalThis as Record<string, unknown>;
    const was = new Map<string, PropertyDescriptor | undefined>();
    const set = (name: string, d: PropertyDescriptor): void => {
      was.set(name, Object.getOwnPropertyDescriptor(g, name));
      Object.defineProperty(g, name, { configurable: true, ...d });
    };
    const tab = (): Tab => this.current.getStore()!;
    const timer = (work: () => void, ms = 0): Task => {
      const t = tab();
      // Browsers give hidden pages a timer a second.
      return this.later(t, t.visible ? ms : Math.max(ms, 1000), work);
    };
    set("setTimeout", { value: timer });
    set("clearTimeout", { value: (t: Task | undefined) => t && this.cancel(t) });
    set("document", { get: () => this.current.getStore()?.document });
    set("addEventListener", { get: () => tab().page.addEventListener.bind(tab().page) });
    set("removeEventListener", { get: () => tab().page.removeEventListener.bind(tab().page) });
    const { now } = Date;
    const { random } = Math;
    const bytes = crypto.getRandomValues;
    Date.now = () => this.now + this.skew;
    Math.random = () => this.r.next();
    crypto.getRandomValues = (<T extends Uint8Array>(to: T): T => {
      for (let i = 0; i < to.length; i++) to[i] = this.r.int(0, 255);
      return to;
    }) as typeof crypto.getRandomValues;
    return () => {
      for (const [name, d] of was) {
        if (d) Object.defineProperty(g, name, d);
        else delete g[name];
      }
      Date.now = now;
      Math.random = random;
      crypto.getRandomValues = bytes;
    };
  }

  // The server.

  /** Takes a line of a connection's. */
  hear(line: Line, text: string): void {
    const wire = this.lines.get(line);
    if (!wire) return;
    const req = JSON.parse(text) as { id: number; op: string; type: string; params: { max_uses: number } };
    const answer = (result: object): void => void wire.lines.push(JSON.stringify({ type: "DataResponse", id: req.id, op: req.op, result }));
    if (req.op === "users.me") answer({ user: { user_id: "u_1", username: "me", name: "Me" } });
    else if (req.op === "invites.create") {
      const n = req.params.max_uses;
      this.effects.set(n, (this.effects.get(n) ?? 0) + 1);
      answer({ code: "x", invite: { invite_id: "i", role: "member", max_uses: n, uses: 0, created_by: "u_1", created_at: "t", expires_at: "t" } });
    } else {
      const n = wire.lines.length;
      this.world.conn = wire;
      this.world.hear(text);
      this.#spread(wire.lines.slice(n + 1), wire);
    }
    this.flush();
  }

  /** Lets something happen in the world that all connections are told of. */
  happen(work: () => void): void {
    const said: Wire = { lines: [], subscribed: true };
    this.world.conn = said;
    work();
    this.#spread(said.lines, said);
    this.flush();
  }

  #spread(events: string[], but: Wire): void {
    for (const w of this.lines.values()) if (w !== but && w.subscribed) w.lines.push(...events);
  }

  flush(): void {
    for (const [line, wire] of this.lines) {
      for (const data of wire.lines.splice(0)) this.later(line.tab, this.delay, () => line.onmessage?.({ data }), line.down);
    }
  }

  /** Ends all connections; down: and takes no other. */
  cut(down: boolean): void {
    this.up = !down;
    for (const line of this.lines.keys()) this.later(line.tab, this.delay, () => line.onclose?.({ code: 1006 }), line.down);
    this.lines.clear();
  }
}

/** A tab, and the page in it. */
export class Tab {
  readonly b: Browser;
  readonly id: number;
  visible = true;
  frozen = false;
  dead = false;
  /** What of its store does not work any more: a full disk takes nothing, and a database that was closed gives nothing either. */
  broken: "nothing" | "writing" | "all" = "nothing";
  held: Task[] = [];
  readonly page = new EventTarget();
  readonly document: { readonly visibilityState: string; addEventListener: EventTarget["addEventListener"]; removeEventListener: EventTarget["removeEventListener"] };

  constructor(b: Browser, id: number) {
    this.b = b;
    this.id = id;
    const doc = new EventTarget();
    const visible = (): boolean => this.visible;
    this.document = {
      get visibilityState() {
        return visible() ? "visible" : "hidden";
      },
      addEventListener: doc.addEventListener.bind(doc),
      removeEventListener: doc.removeEventListener.bind(doc),
    };
    this.#doc = doc;
  }
  #doc: EventTarget;

  get lives(): boolean {
    return !this.dead && !this.frozen;
  }

  /** Does something as this tab's page. */
  run<T>(work: () => T): T {
    return this.b.current.run(this, work);
  }

  show(visible: boolean): void {
    if (this.visible === visible) return;
    this.visible = visible;
    this.b.later(this, 0, () => this.#doc.dispatchEvent(new Event("visibilitychange")));
  }

  /** Freezes it in the middle of whatever it does. */
  freeze(): void {
    this.frozen = true;
  }

  thaw(): void {
    if (!this.frozen) return;
    this.frozen = false;
    this.b.thaw(this.held.splice(0));
  }

  /** Ends it without a word. */
  kill(): void {
    this.dead = true;
    for (const l of this.b.locks.values()) l.gone(this);
    for (const c of [...this.b.channels]) if (c.tab === this) this.b.channels.delete(c);
    for (const l of [...this.b.lines.keys()]) if (l.tab === this) this.b.lines.delete(l);
  }

  get platform(): Platform {
    return { locks: { request: this.#request as LockManager["request"] }, channel: (name) => new TabChannel(this, name) };
  }

  readonly #request = (name: string, options: LockOptions, work: (lock: unknown) => Promise<unknown>): Promise<unknown> => {
    const { b } = this;
    return new Promise((resolve, reject) => {
      const order = `locks ${this.id}`;
      const ask: LockAsk = {
        tab: this,
        granted: () =>
          b.later(this, b.delay, () => {
            const release = (): void => void b.later(undefined, b.delay, () => b.lock(name).leave(ask), order);
            if (options.signal?.aborted) return release();
            void Promise.resolve()
              .then(() => work({ name, mode: "exclusive" }))
              .then(resolve, reject)
              .finally(release);
          }),
        stolen: () => b.later(this, b.delay, () => reject(Object.assign(new Error("stolen"), { name: "AbortError" }))),
      };
      options.signal?.addEventListener("abort", () => {
        reject(options.signal!.reason as Error); // of no effect when it is held
        b.later(undefined, b.delay, () => b.lock(name).withdraw(ask), order);
      });
      b.later(undefined, b.delay, () => (this.dead ? undefined : b.lock(name).ask(ask, options.steal ?? false)), order);
    });
  };

  /** A store that this tab has opened. */
  store(kept: Store): Store {
    const { b } = this;
    const order = `store ${this.id}`;
    const call = (name: keyof Store, args: unknown[]): Promise<unknown> =>
      new Promise((resolve, reject) => {
        const answer = (work: () => void): void => void b.later(this, b.delay, work);
        const work = async (): Promise<void> => {
          if (this.dead) return;
          try {
            if ((name === "load" || name === "take") && b.storeFails) throw new Error("it cannot be read");
            const writes = ["take", "apply", "put", "drop", "putPage", "putUsers", "setDraft", "clear"].includes(name);
            if (this.broken === "all" || (this.broken === "writing" && writes)) throw new GrimaError({ reason: "store", message: "it does not work" });
            const result = await (kept[name] as (...args: unknown[]) => Promise<unknown>).apply(kept, args);
            answer(() => resolve(result));
          } catch (err) {
            answer(() => reject(err as Error));
          }
        };
        b.later(undefined, b.r.pick(b.storeDelays), () => void work(), order);
      });
    return new Proxy(kept, { get: (_, name) => (name === "close" ? () => undefined : (...args: unknown[]) => call(name as keyof Store, args)) });
  }
}

interface LockAsk {
  tab: Tab;
  granted: () => void;
  stolen: () => void;
}

/** A lock of the browser's. */
export class Lock {
  holder: LockAsk | undefined;
  forgets = false; // to give it to who waits, as browsers do at times
  waiting: LockAsk[] = [];

  ask(a: LockAsk, steal: boolean): void {
    if (!steal) {
      this.waiting.push(a);
      return this.#next();
    }
    this.holder?.stolen();
    this.holder = a;
    a.granted();
  }

  #next(): void {
    if (this.holder || this.forgets) return;
    this.holder = this.waiting.shift();
    this.holder?.granted();
  }

  withdraw(a: LockAsk): void {
    this.waiting = this.waiting.filter((x) => x !== a);
  }

  leave(a: LockAsk): void {
    if (this.holder !== a) return;
    this.holder = undefined;
    this.#next();
  }

  gone(tab: Tab): void {
    this.waiting = this.waiting.filter((x) => x.tab !== tab);
    if (this.holder?.tab === tab) this.leave(this.holder);
  }
}

export class TabChannel implements Channel {
  readonly tab: Tab;
  readonly name: string;
  onmessage: ((ev: MessageEvent) => void) | null = null;

  constructor(tab: Tab, name: string) {
    this.tab = tab;
    this.name = name;
    tab.b.channels.add(this);
  }

  postMessage(said: unknown): void {
    const { b } = this.tab;
    const data = structuredClone(said);
    for (const c of b.channels) {
      if (c === this || c.name !== this.name) continue;
      b.later(c.tab, b.delay, () => c.onmessage?.({ data } as MessageEvent), `channel ${this.tab.id} ${c.tab.id}`);
    }
  }

  close(): void {
    this.tab.b.channels.delete(this);
  }
}

let lines = 0;

/** A connection to the server. */
export class Line implements WebSocketLike {
  readonly tab: Tab;
  readonly up: string;
  readonly down: string;
  readyState = 0;
  onopen: ((ev: unknown) => void) | null = null;
  onmessage: ((ev: unknown) => void) | null = null;
  onclose: ((ev: unknown) => void) | null = null;
  onerror: ((ev: unknown) => void) | null = null;

  constructor(b: Browser) {
    this.tab = b.current.getStore()!;
    this.up = `up ${++lines}`;
    this.down = `down ${lines}`;
    const open = (): void => {
      if (this.tab.dead || this.readyState === 3) return;
      if (!b.up) return void b.later(this.tab, b.delay, () => this.onclose?.({ code: 1006 }), this.down);
      b.lines.set(this, b.world.connect());
      b.later(this.tab, b.delay, () => {
        if (this.readyState === 0) this.readyState = 1;
        this.onopen?.({});
      }, this.down);
      b.flush();
    };
    b.later(undefined, b.delay, open, this.up);
  }

  send(text: string): void {
    const { b } = this.tab;
    b.later(undefined, b.delay, () => b.hear(this, text), this.up);
  }

  close(): void {
    this.readyState = 3;
    this.tab.b.later(undefined, this.tab.b.delay, () => this.tab.b.lines.delete(this), this.up);
  }
}
