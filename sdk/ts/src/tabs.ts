import type { Config } from "./api.js";
import type { Audience, Backend, Channel, Platform } from "./backend.js";
import type { Command } from "./commands.js";
import { Engine } from "./engine.js";
import { asGrimaError, GrimaError, taken, type Failure } from "./errors.js";
import { newId } from "./ids.js";
import { snapshotOf, type Snapshot } from "./mirror.js";
import { repeatable } from "./operations.js";
import { listen, visible } from "./page.js";
import type { Screen } from "./screens.js";
import { Session } from "./session.js";
import { sessionConfig } from "./settings.js";
import { later, same, version, type Message, type Reign, type Word } from "./tabtalk.js";
import type { Event } from "./types.js";

// Tabs of one origin share a connection: the one that has the lock holds it, and
// the store's apply; the others send it their commands and get its events, over a
// BroadcastChannel. The lock goes to another when the tab is closed or dies.
//
// A tab's turn is its request for the lock. It waits; then it takes: it has the lock
// and reads the store; then it leads: it has an engine. A tab that does not take or
// lead follows: it is attached once it heard the state of who leads. One whose page
// is suspended (frozen, or kept for going back) rests: it has no turn.
//
//  1. A tab has one turn at a time, and a new one whenever one ended by itself. What
//     comes of a turn that was left, as a lock that is granted all the same, is of no
//     account: it is given back.
//  2. An engine lives in a turn: nobody has one without the lock, except for as long
//     as the news takes that the lock was stolen. Nobody has the lock for long without
//     an engine: reading the store is bounded, and the lock is given back as soon as
//     the engine ended.
//  3. A reign is the time in which a tab takes and leads. Reigns are in an order, and
//     each is later than all that its tab had heard of. Everybody believes the latest:
//     a follower hears no other, and who leads and hears of a later one leaves its
//     turn, remembers that one, and waits again. So it does not matter in which order
//     messages come, nor that clocks are wrong: in the end there is one reign, of who
//     has the lock.
//  4. A leader that lives answers: every tab that can be seen and does not hear from
//     one asks who leads, again and again, and steals the lock from who does not
//     answer. What is hidden steals nothing: it may be as frozen as the leader.
//  5. What a tab asks is asked of one reign, and of the next one if that ended before
//     the answer: unless it is not to be done twice. Then its outcome is unknown.
//     A leader that was frozen, and has yet to hear that it is none, does nothing of
//     what it was asked: the store is not its own any more.
//  6. Who cannot read the store, or keep what it is told, leaves its turn and waits a
//     while before the next: whoever waits for the lock goes first. A tab whose store
//     does not work follows all the same, and asks the server for what it has not.

/** How often a tab that is seen has a look whether its leader lives, and how often when it has doubts, in ms. */
const calm = 10_000;
const uneasy = 1000;
/** How often a leader may leave that without an answer before it loses the lock: its tab may be frozen. */
const patience = 5;
/** How long reading the store may take before the lock goes to another, in ms. */
const maxLoad = 30_000;
/** How long to wait after it failed, the first time and at most, in ms: each time twice as long, until a reign was good for as long as the longest wait. */
const failedOnce = 5000;
const failedOften = 60_000;

interface Pending {
  command: Command;
  signal: AbortSignal | undefined;
  asked: Reign | undefined; // of whom
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
  readonly #leaveWorld: () => void;
  readonly #life = new AbortController(); // ends with the tab
  #closed = false;
  #resting = false;
  #turn: AbortController | undefined; // aborted when it is left
  #reigns = false; // it takes or leads
  #turns = new Set<Promise<void>>(); // those too that were left and are not over
  #again: ReturnType<typeof setTimeout> | undefined; // the next turn, after one that failed
  #wait = failedOnce; // until then, the next time
  #good: ReturnType<typeof setTimeout> | undefined; // when this reign was a good one
  #reign: Reign = { gen: 0, leader: "" }; // the latest that was heard of, or one's own
  #n = 0; // the last of its events
  #screen: Screen = {};
  #pending = new Map<number, Pending>();
  #lastAsk = 0;

  // As a follower.
  #attached = false; // as a leader: it leads
  #beat: ReturnType<typeof setTimeout> | undefined; // the next look at the leader
  #calm = true; // that look is one of those for safety's sake
  #unanswered = 0; // how often was asked since the leader was heard

  // As the leader.
  #engine: Engine | undefined;
  #known = new Map<string, AbortController>(); // tabs, and the watch on each
  #asked = new Map<string, AbortController>(); // what tabs asked

  constructor(cfg: Config, name: string, audience: Audience, platform: Platform) {
    this.#cfg = cfg;
    this.#audience = audience;
    this.#platform = platform;
    this.#name = `grima:${version}:${name}`;
    this.#channel = platform.channel(this.#name);
    this.#channel.onmessage = (ev) => this.#hear(ev.data as Message);
    // Held for as long as the tab lives, for the leader to know.
    this.#hold(this.#name + ":tab:" + this.#id, () => ended(this.#life.signal), this.#life.signal);
    this.#leaveWorld = this.#joinWorld();
    this.#stand();
    this.#who();
    this.#watch();
  }

  get leader(): boolean {
    return this.#engine !== undefined;
  }

  /** Listens to whether the page is suspended: others go on meanwhile. */
  #joinWorld(): () => void {
    const rest = (): void => this.#rest();
    const rise = (): void => this.#rise();
    return listen({ pagehide: rest, pageshow: rise }, { freeze: rest, resume: rise });
  }

  #rest(): void {
    if (this.#closed) return;
    this.#resting = true;
    this.#leave();
  }

  #rise(): void {
    if (this.#closed || !this.#resting) return;
    this.#resting = false;
    this.#stand();
    this.#who();
    this.#watch();
  }

  #post(m: Message): void {
    if (!this.#life.signal.aborted) this.#channel.postMessage(m);
  }

  #hold(name: string, work: () => Promise<void>, signal: AbortSignal): void {
    this.#platform.locks.request(name, { signal }, work).catch((err: unknown) => {
      if (!signal.aborted) console.error("grima: holding a lock failed", err);
    });
  }

  // Turns.

  /** Begins a turn: waits for the lock, or takes it. The one before is left. */
  #stand(steal = false): void {
    this.#leave();
    const turn = (this.#turn = new AbortController());
    const options: LockOptions = steal ? { steal } : { signal: turn.signal };
    const over = this.#platform.locks
      .request(this.#name, options, () => this.#lead(turn))
      .catch((err: unknown) => this.#lost(turn, err))
      .finally(() => this.#turns.delete(over));
    this.#turns.add(over);
  }

  /** A turn ended by itself. */
  #lost(turn: AbortController, err: unknown): void {
    if (this.#turn !== turn) return;
    this.#leave();
    if (this.#closed) return;
    if ((err as { name?: string }).name === "AbortError" || taken(err)) {
      this.#stand(); // it was stolen
    } else {
      const error = asGrimaError(err, "store", "taking the connection").toFailure();
      const wait = this.#wait;
      this.#wait = Math.min(2 * wait, failedOften);
      this.#again = setTimeout(() => this.#stand(), wait);
      void this.#audience.tell([{ kind: "connection", connection: { link: "offline", error, retryAt: Date.now() + wait } }]);
    }
    this.#who();
    this.#watch();
  }

  /** Leaves the turn: nothing is done or heard in it any more, and the lock is given back when its engine ended. */
  #leave(): void {
    clearTimeout(this.#again);
    clearTimeout(this.#good);
    const turn = this.#turn;
    if (!turn) return;
    this.#hush();
    this.#turn = undefined;
    this.#engine = undefined;
    if (this.#reigns) this.#attached = false;
    this.#reigns = false;
    turn.abort();
  }

  /** Serves nobody any more. */
  #hush(): void {
    if (this.#reigns) this.#post({ t: "gone", reign: this.#reign });
    for (const c of this.#known.values()) c.abort();
    this.#known.clear();
    const asked = [...this.#asked.values()];
    this.#asked.clear(); // no answer: the next leader is asked
    for (const c of asked) c.abort();
  }

  /** Has the lock: takes the store and leads, until the turn is left. */
  async #lead(turn: AbortController): Promise<void> {
    if (this.#turn !== turn) return;
    this.#reigns = true;
    const reign = (this.#reign = { gen: Math.max(Date.now(), this.#reign.gen + 1), leader: this.#id });
    this.#n = 0;
    this.#attached = false;
    this.#post({ t: "taking", reign });
    const store = this.#cfg.store;
    const state = store && (await within(maxLoad, store.take ? store.take() : store.load()));
    // A store may be slow, and the lock taken from who waits for it.
    if (this.#turn !== turn) return;
    if (state) this.#audience.jump(snapshotOf(state));
    const deliver = (events: readonly Event[]): void | Promise<void> => {
      if (this.#engine !== engine) return;
      // What a tab tells that is being closed, others are told by one of them.
      if (!this.#closed) this.#post({ t: "events", reign, n: ++this.#n, events });
      return this.#audience.tell(events);
    };
    const engine = new Engine(this.#cfg, new Session(sessionConfig(this.#cfg), state), deliver, (why) => this.#lost(turn, why));
    this.#engine = engine;
    this.#good = setTimeout(() => (this.#wait = failedOnce), failedOften);
    this.#attached = true;
    engine.setScreen(this.#id, this.#screen);
    engine.start();
    this.#announce();
    this.#askAll();
    await ended(turn.signal);
    await engine.close();
  }

  /** Leaves the turn to who has a later one. */
  #yield(to: Reign): void {
    this.#stand();
    this.#reign = to;
    this.#who();
    this.#watch();
  }

  // What is heard.

  #hear(m: Message): void {
    switch (m.t) {
      case "relay":
        return void this.#audience.tell(m.events);
      case "answer":
        return this.#answered(m);
      case "who":
        if (!this.#reigns) return;
        if (later(m.reign, this.#reign)) return this.#yield(m.reign);
        if (!this.#engine) return this.#post({ t: "taking", reign: this.#reign });
        this.#know(this.#engine, m.from);
        return m.attached && same(m.reign, this.#reign) ? this.#post({ t: "here", reign: this.#reign, n: this.#n }) : this.#announce();
      case "screen":
      case "ask":
      case "abort":
        return this.#engine && this.#serve(this.#engine, m);
    }
    if (!this.#reigns) return this.#heed(m);
    if (later(m.reign, this.#reign)) this.#yield(m.reign);
    // One that was frozen when the lock was stolen from it may not know.
    else if (m.t === "state") this.#post({ t: "here", reign: this.#reign, n: this.#n });
  }

  #announce(): void {
    this.#post({ t: "state", reign: this.#reign, n: this.#n, snapshot: this.#audience.snapshot() });
  }

  /** What a leader is asked. */
  #serve(engine: Engine, m: Message & { t: "screen" | "ask" | "abort" }): void {
    const key = m.from + ("id" in m ? m.id : "");
    if (m.t === "abort") return this.#asked.get(key)?.abort();
    if (!same(m.reign, this.#reign)) return; // who asks another hears of this one, and asks again
    this.#know(engine, m.from);
    if (m.t === "screen") return engine.setScreen(m.from, m.screen);
    const abort = new AbortController();
    this.#asked.set(key, abort);
    const answer = (a: { result?: unknown; failure?: Failure }): void => {
      if (this.#asked.get(key) !== abort) return;
      this.#asked.delete(key);
      this.#post({ t: "answer", to: m.from, id: m.id, ...a });
    };
    engine.request(m.command, m.from, abort.signal).then(
      (result) => answer({ result }),
      (err: unknown) => answer({ failure: asGrimaError(err, "closed", "").toFailure() }),
    );
  }

  /** Has a look at a tab, to know when it is gone. */
  #know(engine: Engine, tab: string): void {
    if (this.#known.has(tab)) return;
    const watch = new AbortController();
    this.#known.set(tab, watch);
    this.#hold(this.#name + ":tab:" + tab, async () => {
      if (this.#engine !== engine) return;
      this.#known.delete(tab);
      engine.setScreen(tab, undefined);
    }, watch.signal);
  }

  /** What a follower hears of who leads. */
  #heed(m: Word): void {
    if (later(this.#reign, m.reign)) {
      // A leader that was frozen, or one whose clock is behind: it gives way when it hears of this.
      if (m.t === "state" || m.t === "taking") this.#who();
      return;
    }
    this.#unanswered = 0;
    if (!same(this.#reign, m.reign)) this.#attached = false;
    this.#reign = m.reign;
    switch (m.t) {
      case "taking":
      case "gone":
        this.#attached = false;
        break;
      case "state":
        if (!this.#attached) this.#attach(m.n, m.snapshot);
        break;
      case "events":
        if (this.#attached && m.n === this.#n + 1) {
          this.#n = m.n;
          return void this.#audience.tell(m.events);
        }
        this.#attached = false;
        this.#who();
        break;
      case "here":
        if (this.#attached && m.n === this.#n) return;
        this.#attached = false;
        this.#who();
    }
    this.#watch();
  }

  #attach(n: number, snapshot: Snapshot): void {
    this.#n = n;
    this.#attached = true;
    this.#audience.jump(snapshot);
    this.#post({ t: "screen", from: this.#id, reign: this.#reign, screen: this.#screen });
    this.#askAll();
  }

  // Whether the leader lives.

  #who(): void {
    if (!this.#reigns) this.#post({ t: "who", from: this.#id, reign: this.#reign, attached: this.#attached });
  }

  /** Has a look at the leader once in a while, and soon when there is a doubt. */
  #watch(): void {
    const doubt = !this.#attached || this.#unanswered > 0 || this.#pending.size > 0;
    if (this.#beat !== undefined) {
      if (!doubt || !this.#calm) return;
      clearTimeout(this.#beat);
    }
    this.#calm = !doubt;
    this.#beat = setTimeout(() => this.#look(), doubt ? uneasy : calm);
  }

  #look(): void {
    this.#beat = undefined;
    if (this.#closed || this.#resting || this.#reigns || !visible()) return void (this.#unanswered = 0); // who comes back watches again
    if (this.#calm || !this.#attached || this.#unanswered > 0 || this.#pending.size > 0) {
      if (++this.#unanswered > patience) {
        this.#unanswered = 0;
        this.#stand(true);
      } else this.#who();
    }
    this.#watch();
  }

  // What is asked here.

  #ask(command: Command, signal?: AbortSignal): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastAsk;
      const abort = (): void => {
        if (!this.#pending.delete(id)) return;
        if (!this.#engine) this.#post({ t: "abort", from: this.#id, id });
        reject(signal!.reason as Error);
      };
      const end = (): void => signal?.removeEventListener("abort", abort); // it may be that of many
      const p: Pending = { command, signal, asked: undefined, resolve: (r) => (end(), resolve(r)), reject: (err) => (end(), reject(err)) };
      this.#pending.set(id, p);
      signal?.addEventListener("abort", abort, { once: true });
      if (this.#attached) this.#askNow(id, p);
      if (!this.#engine) this.#watch();
    });
  }

  #askAll(): void {
    for (const [id, p] of [...this.#pending]) this.#askNow(id, p);
  }

  /** Asks the leader of now, unless that could do it twice. */
  #askNow(id: number, p: Pending): void {
    if (same(p.asked, this.#reign)) return;
    let c = p.command;
    if (p.asked && c.do === "call" && !repeatable(c.op, c.params)) {
      this.#pending.delete(id);
      const message = "the tab that had the connection was closed before the answer came; it may have happened";
      return p.reject(new GrimaError({ reason: "unknown_outcome", message }));
    }
    if (p.asked && (c.do === "retry" || c.do === "discard")) c = { ...c, again: true };
    p.asked = this.#reign;
    const engine = this.#engine;
    if (!engine) {
      try {
        this.#post({ t: "ask", from: this.#id, reign: this.#reign, id, command: c });
      } catch (err) {
        // It is no data, as a function in it. No other leader can be asked either.
        this.#pending.delete(id);
        p.reject(err);
      }
      return;
    }
    engine.request(c, this.#id, p.signal).then(
      (result) => {
        if (this.#pending.delete(id)) p.resolve(result);
      },
      (err: unknown) => {
        // What was under way when the turn ended is asked of the next leader.
        if (this.#engine !== engine && !this.#closed && err instanceof GrimaError && (err.reason === "closed" || taken(err))) return;
        if (this.#pending.delete(id)) p.reject(err);
      },
    );
  }

  #answered(m: Message & { t: "answer" }): void {
    if (m.to !== this.#id) return;
    this.#unanswered = 0;
    const p = this.#pending.get(m.id);
    this.#pending.delete(m.id);
    if (m.failure) p?.reject(new GrimaError(m.failure));
    else p?.resolve(m.result);
  }

  request(c: Command, signal?: AbortSignal): Promise<unknown> {
    if (this.#closed) return Promise.reject(new GrimaError({ reason: "closed", message: "the client is closed" }));
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    return this.#ask(c, signal);
  }

  screen(s: Screen): void {
    this.#screen = s;
    if (this.#engine) this.#engine.setScreen(this.#id, s);
    else if (this.#attached) this.#post({ t: "screen", from: this.#id, reign: this.#reign, screen: s }); // attaching says it again
  }

  relay(events: readonly Event[]): void {
    this.#post({ t: "relay", events });
  }

  probe(): void {
    this.#rise();
    if (this.#engine) return this.#engine.probe();
    this.#who();
    if (!this.#reigns) this.#unanswered ||= 1;
    this.#watch();
  }

  offline(): void {
    this.#engine?.offline();
  }

  async flush(): Promise<void> {
    await this.#engine?.flush();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#leaveWorld();
    clearTimeout(this.#beat);
    this.#channel.onmessage = null;
    this.#hush();
    await this.#engine?.close(); // its end is told here
    this.#leave();
    this.#life.abort();
    for (const p of this.#pending.values()) p.reject(new GrimaError({ reason: "closed", message: "the client is closed" }));
    this.#pending.clear();
    this.#channel.close();
    await Promise.all(this.#turns);
  }
}

function ended(s: AbortSignal): Promise<void> {
  return new Promise((done) => (s.aborted ? done() : s.addEventListener("abort", () => done(), { once: true })));
}

/** Waits so long for a store. */
async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, no) => {
    timer = setTimeout(() => no(new GrimaError({ reason: "store", message: "the store does not answer" })), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
