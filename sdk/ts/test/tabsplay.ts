import assert from "node:assert/strict";
import { MemoryKv } from "../src/kv.js";
import { storeOn } from "../src/store.js";
import { GrimaError, open, type ChatWindow, type Client, type Config, type EventOf, type Item, type Store, type WebSocketConstructor } from "../src/index.js";
import { Browser, Line, type Tab } from "./browser.js";
import { Random, World } from "./world.js";

// Tabs to which things happen, in a browser and with a server of values.

export const chatId = "c_1";

/** What a tab asked. */
export interface Ask {
  who: Page;
  what: "send" | "refused" | "retry" | "discard" | "me" | "invite";
  n: number;
  outcome: "none" | "done" | GrimaError;
}

/** A page in a tab, with its client. */
export interface Page {
  tab: Tab;
  client: Client | undefined; // undefined: it is being opened, or could not be
  window: ChatWindow | undefined;
  closing: boolean;
  cached: boolean; // suspended whole, when one went back or on
}

export class Play {
  readonly r: Random;
  readonly b: Browser;
  readonly #kv = new MemoryKv();
  readonly kept: Store = storeOn(this.#kv);
  /** A store did not work at some time: what had to be kept then may have been refused. */
  broke = false;
  readonly log: string[] = [];
  pages: Page[] = [];
  asks: Ask[] = [];
  #asked = 0;
  #touched = new Set<string>(); // items of the outbox that somebody wanted to be rid of

  constructor(seed: number) {
    this.r = new Random(seed);
    const world = new World(0);
    world.create(chatId, true);
    world.post(world.chats.get(chatId)!, "u_2", "welcome");
    this.b = new Browser(this.r, world);
  }

  note(...what: unknown[]): void {
    this.log.push(`${((this.b.now - 1.7e12) / 1000).toFixed(3)} ${what.join(" ")}`);
  }

  open(): Page {
    const tab = this.b.tab();
    const page: Page = { tab, client: undefined, window: undefined, closing: false, cached: false };
    this.pages.push(page);
    this.note("open", tab.id);
    const { b } = this;
    class Socket extends Line {
      constructor() {
        super(b);
      }
    }
    const config: Config = {
      url: "http://localhost", auth: "cookie", store: tab.store(storeOn(this.#kv)), tabs: "t", heartbeatMs: 3_600_000, maxBackoffMs: 5000,
      WebSocket: Socket as unknown as WebSocketConstructor,
    };
    b.later(tab, 0, () => {
      open(config, tab.platform).then(
        (c) => {
          page.client = c;
          const told = new Set<number>();
          const sent = new Set<string>();
          c.on("*", (ev) => {
            if (["reset", "skipped", "chat.added"].includes(ev.kind)) told.clear();
            if (ev.kind === "outbox") {
              const { id, progress, seq } = (ev as EventOf<"outbox">).item;
              assert(!sent.has(id), `${id} was sent, and is ${progress} in tab ${tab.id}`);
              if (progress === "sent" && seq) sent.add(id);
            }
            if (ev.kind !== "message.created") return;
            const { seq } = (ev as EventOf<"message.created">).message;
            assert(!told.has(seq), `${seq} is told twice in tab ${tab.id}`);
            told.add(seq);
          });
          c.focus(chatId);
          this.look(page);
        },
        () => tab.kill(), // its store could not be read
      );
    });
    return page;
  }

  /** The pages that are open and go on. */
  get living(): Page[] {
    return this.pages.filter((p) => p.tab.lives && !p.closing);
  }

  get leaders(): Page[] {
    return this.living.filter((p) => p.client?.leader);
  }

  ask(who: Page, what: Ask["what"]): Ask | undefined {
    const { client } = who;
    if (!client) return undefined;
    const a: Ask = { who, what, n: ++this.#asked, outcome: "none" };
    this.asks.push(a);
    this.note("ask", who.tab.id, what, a.n);
    this.#do(a, (): Promise<unknown> => {
      if (what === "send") return client.send({ chatId, content: `said ${a.n}` });
      if (what === "refused") return client.queue({ chatId, content: `refused ${a.n}` });
      return what === "me" ? client.call("users.me") : client.call("invites.create", { max_uses: a.n });
    });
    return a;
  }

  /** What a tab shows as refused, and what is asked is to end that: sent again, or taken out. */
  mend(who: Page, id: string, content: string): void {
    const what = this.r.pick(["retry", "discard"] as const);
    const a: Ask = { who, what, n: said(content), outcome: "none" };
    this.asks.push(a);
    this.#touched.add(id);
    this.note("ask", who.tab.id, what, a.n);
    this.#do(a, () => who.client![what](id));
  }

  #do(a: Ask, work: () => Promise<unknown>): void {
    a.who.tab.run(() => {
      work().then(
        () => (a.outcome = "done"),
        (err: GrimaError) => (a.outcome = err),
      );
    });
  }

  /** Opens the chat, anew. */
  look(p: Page): void {
    const c = p.client;
    if (!c) return;
    this.note("look", p.tab.id);
    p.window?.close();
    const w = (p.window = c.window(chatId));
    p.tab.run(() => w.jump().catch((err: unknown) => assert(err instanceof GrimaError && err.reason === "closed", String(err))));
  }

  close(p: Page): void {
    this.note("close", p.tab.id);
    p.closing = true;
    if (!p.client) return p.tab.kill();
    p.tab.run(() => p.client!.close()).then(() => p.tab.kill(), () => p.tab.kill());
  }

  freeze(p: Page, cached = false): void {
    this.note(cached ? "cache" : "freeze", p.tab.id);
    if (cached) {
      p.cached = true;
      p.tab.run(() => p.tab.page.dispatchEvent(new Event("pagehide")));
      p.tab.show(false);
    }
    p.tab.freeze();
  }

  thaw(p: Page): void {
    this.note("thaw", p.tab.id);
    if (p.cached) p.tab.show(true);
    p.tab.thaw();
    if (p.cached) this.b.later(p.tab, 0, () => p.tab.page.dispatchEvent(new Event("pageshow")));
    p.cached = false;
  }

  /** Somebody else says something. */
  hear(): void {
    this.b.happen(() => this.b.world.post(this.b.world.chats.get(chatId)!, "u_2", `heard ${this.b.world.stamp}`));
  }

  step(): void {
    const { r, b } = this;
    const n = r.int(0, 99);
    const some = this.living.length > 0 ? r.pick(this.living) : undefined;
    const frozen = this.pages.filter((p) => p.tab.frozen && !p.tab.dead);
    if (n < 10 || !some) {
      if (this.living.length < 5) this.open();
    } else if (n < 16) this.close(some);
    else if (n < 22) {
      this.note("kill", some.tab.id);
      some.tab.kill();
      if (r.int(0, 1)) this.open(); // it was navigated
    } else if (n < 30) this.freeze(some, r.int(0, 2) === 0);
    else if (n < 40) {
      if (frozen.length > 0) this.thaw(r.pick(frozen));
    } else if (n < 52) {
      this.note(some.tab.visible ? "hide" : "show", some.tab.id);
      some.tab.show(!some.tab.visible);
    } else if (n < 56) this.look(some);
    else if (n < 70) this.ask(some, r.pick(["send", "refused", "me", "invite"]));
    else if (n < 74) {
      // Who is yet to hear that it is in the outbox asks again, and it is there again.
      const heard = (x: Item): boolean => this.asks.some((a) => a.what === "refused" && a.n === said(x.content) && (a.outcome === "done" || a.who.tab.dead));
      const it = some.client?.outbox().find((x) => x.progress === "failed" && !this.#touched.has(x.id) && heard(x));
      if (it) this.mend(some, it.id, it.content);
    }
    else if (n < 82) this.hear();
    else if (n < 86) {
      b.storeDelays = r.pick([[0, 1, 3], [0, 100, 2000], [4000, 9000]]);
      this.note("store", b.storeDelays);
    } else if (n < 87) {
      b.storeFails = !b.storeFails;
      this.note("store fails", b.storeFails);
    } else if (n < 90) {
      this.break(some, r.pick(["nothing", "writing", "all"]));
    } else if (n < 91) {
      b.world.refuses = !b.world.refuses;
    } else if (n < 93) {
      b.delays = r.pick([[0, 0, 0, 1, 1, 2, 5, 30], [0], [0, 1, 200, 1500]]);
      this.note("delays", b.delays);
    } else if (n < 95) {
      this.note("cut");
      b.cut(r.int(0, 1) === 1);
    } else if (n < 97) b.up = true;
    else {
      b.skew += r.int(-60, 60) * 1000; // which the wait for the next connection may be longer then
      this.note("clock", b.skew);
    }
  }

  /** Breaks a tab's store, or mends it. */
  break(p: Page, how: Page["tab"]["broken"]): void {
    this.note("broken", p.tab.id, how);
    p.tab.broken = how;
    if (how !== "nothing") this.broke = true;
  }

  async run(): Promise<void> {
    for (let n = this.r.int(3, 60); n > 0; n--) {
      this.step();
      await this.b.pass(this.r.pick([0, 0, 1, 10, 100, 1000, 1000, 6000, 20_000]));
    }
    await this.settle();
    // Whoever leads goes away: the others go on, each in its turn.
    while (this.living.length > 1) {
      const p = this.r.pick(this.r.int(0, 2) ? this.leaders : this.living);
      if (this.r.int(0, 1)) this.close(p);
      else {
        this.note("kill", p.tab.id);
        p.tab.kill();
      }
      await this.settle();
    }
  }

  /** Lets all come to rest, and checks that it is right. */
  async settle(): Promise<void> {
    const { b, r } = this;
    b.up = true;
    b.storeFails = false;
    b.storeDelays = [0, 1, 3];
    b.delays = [0, 1, 5];
    b.world.refuses = false;
    for (const p of this.pages) if (p.tab.frozen && !p.tab.dead && r.int(0, 1)) this.thaw(p);
    for (const p of this.pages) if (p.tab.broken !== "nothing" && r.int(0, 1)) this.break(p, "nothing");
    if (!this.living.some((p) => p.tab.visible && p.client && p.tab.broken === "nothing")) this.open();
    this.note("settle");
    this.hear();
    await b.pass(120_000);
    // What was refused is sent again, or given up, by whoever shows it.
    for (const it of this.leaders[0]?.client?.outbox() ?? []) this.mend(r.pick(this.living), it.id, it.content);
    await b.pass(30_000);
    this.check();
    const { chats, outbox } = await this.kept.load();
    assert.equal(chats[0]?.pos, b.world.chats.get(chatId)!.last, "how far the store is");
    // A leader may keep what it was asked for when it is not one any more. Who asked
    // asks the next one; of who is gone it goes out when the store is read again.
    const left = outbox.filter((it) => this.asks.some((a) => a.n === said(it.content) && (a.outcome === "done" || this.living.includes(a.who))));
    assert.deepEqual(left, [], "what is in the store's outbox");
  }

  check(): void {
    const { b, living } = this;
    const { last: end, msgs } = b.world.chats.get(chatId)!;
    const [leader, ...more] = this.leaders;
    const held = b.lock("grima:2:t");
    this.note("holds", held.holder?.tab.id, "waits", held.waiting.map((x) => x.tab.id), "lives", living.map((p) => `${p.tab.id}${p.tab.visible ? "" : " hidden"} ${p.client ? p.client.connection.link : "opening"}`));
    assert(leader && more.length === 0, `tabs ${this.leaders.map((p) => p.tab.id)} lead`);
    assert.equal(leader.tab.broken, "nothing", `what of the store of tab ${leader.tab.id}, which leads, does not work`);
    const lines = [...b.lines.keys()].filter((l) => l.tab.lives).map((l) => l.tab.id);
    assert.deepEqual(lines, [leader.tab.id], "who has a connection");
    const lock = b.lock("grima:2:t");
    assert.equal(lock.holder?.tab.id, leader.tab.id, "who holds the lock");
    for (const p of living) {
      const id = p.tab.id;
      const c = p.client!;
      assert.equal(c.connection.link, "online", `the connection in tab ${id}`);
      assert.equal(c.chat(chatId)?.pos, end, `how far tab ${id} is`);
      assert.deepEqual(c.outbox(), [], `what is in the outbox of tab ${id}`);
      assert.equal(p.window!.atEnd, true, `whether the window of tab ${id} shows the end`);
      assert.equal(p.window!.messages.at(-1)?.seq, msgs.at(-1)!.seq, `what is in the window of tab ${id}`);
      assert.equal(lock.waiting.filter((x) => x.tab === p.tab).length, p === leader ? 0 : 1, `how often tab ${id} waits for the lock`);
    }
    for (const a of this.asks) {
      const name = `${a.what} ${a.n} of tab ${a.who.tab.id}`;
      const text = `${a.what === "send" ? "said" : "refused"} ${a.n}`;
      const times = a.what === "invite" ? (b.effects.get(a.n) ?? 0) : msgs.filter((m) => m.content === text).length;
      assert(times <= 1, `${name} was done ${times} times`);
      const discarded = this.asks.some((x) => x.n === a.n && x.what === "discard");
      if (a.outcome === "done" && (a.what === "send" || a.what === "invite" || (a.what === "retry" && !discarded))) assert.equal(times, 1, name);
      if (a.outcome === "done" && a.what === "discard") assert.equal(times, 0, name);
      if (!living.includes(a.who)) continue;
      if (a.outcome === "none") assert.fail(`${name} has no outcome`);
      if (a.outcome === "done" || (a.what === "invite" && a.outcome.reason === "unknown_outcome")) continue;
      if (this.broke && a.outcome.reason === "store" && ["send", "refused", "retry", "discard"].includes(a.what)) continue;
      assert.fail(`${name}: ${a.outcome.message}`);
    }
  }
}

/** The number of the ask that said this. */
function said(content: string): number {
  return Number(content.split(" ")[1]);
}

/** Runs work in the world of a seed; what goes wrong anywhere in it is thrown, with all that happened. */
export async function play(seed: number, work: (p: Play) => Promise<void> = (p) => p.run()): Promise<void> {
  const p = new Play(seed);
  const restore = p.b.install();
  const { warn } = console;
  console.warn = (...what: unknown[]) => p.note(...what); // of a store that does not work
  const faults: unknown[] = [];
  const fault = (err: unknown): void => void faults.push(err);
  process.on("uncaughtException", fault);
  process.on("unhandledRejection", fault);
  try {
    await work(p);
    if (faults.length > 0) throw faults[0];
  } catch (err) {
    (err as Error).message = `seed ${seed}: ${(err as Error).message}\n${p.log.join("\n")}`;
    throw err;
  } finally {
    restore();
    console.warn = warn;
    process.off("uncaughtException", fault);
    process.off("unhandledRejection", fault);
  }
}
