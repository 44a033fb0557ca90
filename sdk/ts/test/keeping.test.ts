import assert from "node:assert/strict";
import test from "node:test";
import { IDBFactory, IDBKeyRange, IDBObjectStore } from "fake-indexeddb";
import { indexedDBStore, memoryStore, open, type Client, type Event, type Item, type Store, type WebSocketConstructor, type WebSocketLike } from "../src/index.js";
import { created, hello, started, stateOf } from "./talk.js";

Object.assign(globalThis, { IDBKeyRange });

// What the store is asked while a client is told things.

/** A server that is spoken for by the test. */
class Line implements WebSocketLike {
  static last: Line;
  readyState = 1;
  onopen: ((ev: unknown) => void) | null = null;
  onmessage: ((ev: unknown) => void) | null = null;
  onclose: ((ev: unknown) => void) | null = null;
  onerror: ((ev: unknown) => void) | null = null;

  constructor() {
    Line.last = this;
    queueMicrotask(() => {
      this.onopen?.({});
      this.says(hello);
    });
  }

  says(line: string): void {
    this.onmessage?.({ data: line });
  }

  send(line: string): void {
    const { id, op } = JSON.parse(line) as { id: number; op: string };
    const result = op === "session.start" ? started : { chats: [stateOf("c_1", 2, 5)], cursor: "k1", has_more: false };
    const type = op === "session.start" ? "SessionResponse" : "DataResponse";
    if (op === "session.start" || op === "sync") queueMicrotask(() => this.says(JSON.stringify({ type, id, op, result })));
  }

  close(): void {
    this.readyState = 3;
  }
}

/** A store that is slow, or fails, when a test wants it to. */
function watched() {
  const store = memoryStore();
  const w = { batches: [] as string[][], fails: undefined as Error | undefined, gate: Promise.resolve() };
  const apply = async (events: readonly Event[]): Promise<void> => {
    w.batches.push(events.map((ev) => ev.kind));
    await w.gate;
    if (w.fails) throw w.fails;
    await store.apply(events);
  };
  return Object.assign(w, { store: new Proxy(store, { get: (of, name) => (name === "apply" ? apply : (of[name as keyof Store] as () => unknown).bind(of)) }) });
}

/** A store in which putting something into the outbox waits for the test. */
function gated() {
  const store = memoryStore();
  const g = { puts: 0, kept: [] as string[], open: (): void => undefined, gate: undefined as Promise<void> | undefined };
  const apply = async (events: readonly Event[]): Promise<void> => {
    await store.apply(events);
    for (const ev of events) if (ev.kind === "outbox") g.kept.push(ev.item.progress);
  };
  const put = async (item: Item): Promise<void> => {
    g.puts++;
    await g.gate;
    await store.put(item);
  };
  return Object.assign(g, {
    shut: () => (g.gate = new Promise((done) => (g.open = done))),
    store: new Proxy(store, { get: (of, name) => (name === "put" ? put : name === "apply" ? apply : (of[name as keyof Store] as () => unknown).bind(of)) }),
  });
}

async function start(store: Store): Promise<Client> {
  const c = await open({ url: "http://localhost", auth: { token: "gt_x" }, store, WebSocket: Line as unknown as WebSocketConstructor });
  await c.ready();
  return c;
}

void test("what is told does not wait for the store, which takes it in few batches", async () => {
  const w = watched();
  const c = await start(w.store);
  let release = (): void => undefined;
  w.gate = new Promise((done) => (release = done));
  const before = w.batches.length;
  const told: number[] = [];
  c.on("message.created", (ev) => told.push(ev.seq));
  for (let seq = 6; seq < 206; seq++) {
    Line.last.says(created(seq));
    await Promise.resolve();
  }
  while (told.length < 200) await new Promise((done) => setImmediate(done));
  assert.deepEqual(told, Array.from({ length: 200 }, (_, i) => i + 6), "all, while the store takes the first");
  // Who asks for what is kept gets it with all that was told.
  const page = c.history({ chat_id: "c_1", limit: 50 });
  release();
  assert.equal((await page).messages.at(-1)?.seq, 205);
  assert((w.batches.length - before) <= 4, `${w.batches.length - before} batches`);
  await c.close();
  assert.equal((await w.store.load()).chats[0]?.pos, 205);
});

void test("a store that is too far behind is waited for", async () => {
  const w = watched();
  const c = await start(w.store);
  let release = (): void => undefined;
  w.gate = new Promise((done) => (release = done));
  let told = 0;
  c.on("message.created", () => void told++);
  for (let seq = 6; seq < 5006; seq++) Line.last.says(created(seq));
  for (let i = 0; i < 200; i++) await new Promise((done) => setImmediate(done));
  assert(told < 2500, `${told} were told, and none is kept`);
  release();
  w.gate = Promise.resolve();
  await c.close();
});

void test("a store that fails stops the client, which says why", async () => {
  const w = watched();
  const c = await start(w.store);
  w.fails = new Error("no space left");
  const stopped = new Promise<void>((done) => c.on("connection", (ev) => void (ev.connection.link === "stopped" && done())));
  Line.last.says(created(6));
  await stopped;
  assert.equal(c.error?.reason, "store");
  assert.match(c.error!.message, /no space left/);
  const n = w.batches.length;
  Line.last.says(created(7));
  await assert.rejects(c.ready(), { reason: "store" });
  await assert.rejects(c.call("users.me"), { reason: "store" });
  await c.close();
  assert.equal(w.batches.length, n, "nothing is kept behind a hole");
});

void test("what a listener causes is told and kept behind what it was told", async () => {
  const w = watched();
  const c = await start(w.store);
  const told: string[] = [];
  c.on("message.created", (ev) => c.markRead(ev.chatId, ev.seq));
  c.on("*", (ev) => void told.push(ev.kind));
  Line.last.says(created(6));
  while (told.length < 2) await new Promise((done) => setImmediate(done));
  assert.deepEqual(told, ["message.created", "chat.state"]);
  await c.close();
  const kept = w.batches.flat();
  assert.equal(kept.lastIndexOf("chat.state"), kept.indexOf("message.created") + 1);
  const chat = (await w.store.load()).chats[0];
  assert.deepEqual([chat?.pos, chat?.read_seq, chat?.mark], [6, 6, 6], "the mark is kept, and told with the next connection");
});

void test("a client that is closed to be forgotten leaves nothing, whatever came last", async () => {
  for (const forget of [false, true]) {
    const w = watched();
    const c = await start(w.store);
    const told = new Promise<void>((done) => c.on("message.created", (ev) => void (ev.seq === 7 && done())));
    Line.last.says(created(6));
    Line.last.says(created(7));
    await told;
    const n = w.batches.length;
    await c.close({ forget });
    assert(w.batches.length > n, "closing keeps what was told last");
    const state = await w.store.load();
    assert.deepEqual([state.userId, state.cursor, state.chats.length], forget ? ["", "", 0] : ["u_1", "k1", 1]);
  }
});

void test("sending what was refused before says so again, and waits for nothing", async () => {
  const w = watched();
  await w.store.put({ id: "m_1", chatId: "c_1", content: "x", progress: "failed", queuedAt: 1, tries: 1, error: { code: "not_found", message: "no such chat", retryable: false } });
  const c = await start(w.store);
  await assert.rejects(c.send({ id: "m_1", chatId: "c_1", content: "x" }, { signal: AbortSignal.timeout(60_000) }), { reason: "refused", code: "not_found" });
  await c.close();
});

void test("a client is closed from within a reader that is far behind", async () => {
  const c = await start(memoryStore());
  const events = c.events();
  for (let seq = 6; seq < 1300; seq++) {
    Line.last.says(created(seq));
    if (seq % 50 === 0) await new Promise((done) => setImmediate(done));
  }
  const late = AbortSignal.timeout(60_000);
  let told = 0;
  for await (const ev of events) {
    told++;
    if (ev.kind !== "message.created") continue;
    await Promise.race([c.close(), new Promise((_, fail) => late.addEventListener("abort", () => fail(new Error("it waits for its own reader"))))]);
    break;
  }
  assert(told > 0);
});

void test("who reads the events of a client that stops comes to their end", async () => {
  const c = await start(memoryStore());
  const events = c.events();
  const told: string[] = [];
  const reading = (async () => {
    for await (const ev of events) told.push(ev.kind === "connection" ? ev.connection.link : ev.kind);
  })();
  const waiting = c.events(); // of somebody who reads later
  Line.last.says(created(6));
  Line.last.says(JSON.stringify({ type: "Goodbye", code: "session_revoked", message: "over", reconnect: false }));
  const late = AbortSignal.timeout(60_000);
  await Promise.race([reading, new Promise((_, fail) => late.addEventListener("abort", () => fail(new Error("it goes on waiting"))))]);
  assert.deepEqual(told, ["message.created", "stopped"]);
  const later: string[] = [];
  for await (const ev of waiting) later.push(ev.kind);
  assert.deepEqual(later, ["message.created", "connection"], "what waits is read first");
  assert.deepEqual(await c.events().next(), { value: undefined, done: true }, "one that begins later");
  assert.equal(c.error?.code, "session_revoked");
  await c.close();
});

void test("a reader that ended leaves nothing at a signal that goes on", async () => {
  const c = await start(memoryStore());
  const all = new AbortController();
  let listeners = 0;
  const signal = new Proxy(all.signal, {
    get: (of, name) => {
      if (name === "addEventListener") listeners++;
      if (name === "removeEventListener") listeners--;
      const v = Reflect.get(of, name, of) as unknown;
      return typeof v === "function" ? (v.bind(of) as unknown) : v;
    },
  });
  for (let i = 0; i < 3; i++) await c.events({ signal }).return!();
  assert.equal(listeners, 0);
  const open = c.events({ signal });
  assert.equal(listeners, 1);
  all.abort();
  assert.deepEqual(await open.next(), { value: undefined, done: true });
  assert.equal(listeners, 0);
  assert.deepEqual(await c.events({ signal }).next(), { value: undefined, done: true }, "one that is over when it begins");
  await c.close();
});

void test("people are remembered up to a bound, whoever told of them", async () => {
  const c = await start(memoryStore());
  const person = (n: number) => ({ user_id: `u_${n}`, username: `n${n}`, name: `N ${n}`, role: "member", created_at: "2026-01-01T00:00:00.000Z" });
  const told = new Promise<void>((done) => c.on("user", (ev) => void (ev.user.user_id === "u_10019" && done())));
  for (let n = 10; n < 10_020; n++) {
    Line.last.says(JSON.stringify({ type: "BroadcastResponse", event: "user", user: person(n) }));
    if (n % 50 === 0) await new Promise((done) => setImmediate(done));
  }
  await told;
  assert.equal(c.user("u_10"), undefined, "who was heard of first is let go");
  assert.equal(c.user("u_20")?.name, "N 20", "and nobody else is");
  await c.close();
});

void test("what one user writes while the store is found to be another's is not kept, and sent as nobody", async () => {
  const store = memoryStore();
  await store.apply([{ kind: "cursor", userId: "u_9", epoch: "e1", cursor: "k", complete: true }]);
  let putting = (): void => undefined;
  let release = (): void => undefined;
  const reached = new Promise<void>((done) => (putting = done));
  const gate = new Promise<void>((done) => (release = done));
  const slow = new Proxy(store, {
    get: (of, name) => {
      if (name !== "put") return (of[name as keyof Store] as () => unknown).bind(of);
      return async (item: Item) => {
        putting();
        await gate;
        await of.put(item);
      };
    },
  });
  let held = false;
  let logIn = (): void => undefined; // the answer to the first login
  class Late extends Line {
    override send(line: string): void {
      if (line.includes("session.start") && (held = !held)) logIn = () => super.send(line);
      else super.send(line);
    }
  }
  const c = await open({ url: "http://localhost", auth: { token: "gt_x" }, store: slow, otherUser: "forget", WebSocket: Late as unknown as WebSocketConstructor });
  const reset = new Promise<void>((done) => c.on("reset", () => done()));
  const refused = assert.rejects(c.queue({ id: "m_1", chatId: "c_1", content: "mine" }), { reason: "other_user" });
  await reached;
  logIn();
  for (let i = 0; i < 20; i++) await new Promise((done) => setImmediate(done));
  release();
  await refused;
  await reset;
  await c.ready();
  assert.deepEqual([c.self?.user_id, c.outbox()], ["u_1", []]);
  await c.queue({ id: "m_2", chatId: "c_1", content: "the other's" });
  await c.close();
  assert.deepEqual((await store.load()).outbox.map((it) => it.id), ["m_2"]);
});

void test("a try that a full browser does not keep is refused, and leaves the message as it was", async () => {
  const store = await indexedDBStore("s", new IDBFactory());
  const failed: Item = { id: "m_1", chatId: "c_1", content: "x", progress: "failed", queuedAt: 1, tries: 1, error: { code: "not_found", message: "no such chat", retryable: false } };
  await store.put(failed);
  const c = await start(store);
  const told: Event[] = [];
  c.on("*", (ev) => void told.push(ev));
  const { put } = IDBObjectStore.prototype;
  IDBObjectStore.prototype.put = function (...args) {
    if (this.name === "outbox") throw new DOMException("no space left", "QuotaExceededError");
    return put.apply(this, args);
  };
  try {
    await assert.rejects(c.retry("m_1"), { reason: "store", code: "store" });
  } finally {
    IDBObjectStore.prototype.put = put;
  }
  assert.deepEqual([told, c.outbox()], [[], [failed]]);
  assert.equal(c.connection.link, "online");
  await c.retry("m_1");
  assert.equal(c.outbox()[0]?.progress, "pending");
  await c.close();
});

void test("what is discarded while it is to be tried again does not come back", async () => {
  const g = gated();
  const error = { code: "not_found", message: "no such chat", retryable: false } as const;
  await g.store.put({ id: "a", chatId: "c_9", content: "a", progress: "failed", queuedAt: 0, tries: 1, error });
  const c = await start(g.store);
  g.shut();
  const again = c.retry("a");
  again.catch(() => undefined);
  while (g.puts < 2) await new Promise((done) => setImmediate(done));
  assert.equal(await c.discard("a"), false);
  while (!g.kept.includes("discarded")) await new Promise((done) => setImmediate(done));
  g.open();
  await assert.rejects(again, { code: "not_found" });
  await c.close();
  assert.deepEqual((await g.store.load()).outbox, [], "it would be sent with the next start");
});
