import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test, { afterEach, beforeEach } from "node:test";
import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { WebSocket } from "ws";
import { indexedDBStore, memoryStore, open, type Channel, type Client, type Config, type Event, type Item, type Message, type Platform, type WebSocketConstructor } from "../src/index.js";
import { Locks } from "./locks.js";

// Against a real server behind a proxy: go test ./internal/tstest.

const url = process.env["GRIMA_URL"] ?? "";
const control = process.env["GRIMA_CONTROL"] ?? "";
const skip = url === "" ? "there is no server: go test ./internal/tstest has one" : false;
Object.assign(globalThis, { IDBKeyRange });

const Socket = WebSocket as unknown as WebSocketConstructor;

// Node ends a test for which nothing is under way, and fetch may wait for an answer
// with a socket that does not count: one it kept from before. What waits for ever
// is to be told by the test's own time.
let underWay: NodeJS.Timeout;
beforeEach(() => {
  underWay = setInterval(() => undefined, 1 << 30);
});
afterEach(() => clearInterval(underWay));

async function api<T>(method: string, path: string, body?: object, token?: string, at = url): Promise<T> {
  const headers: Record<string, string> = { "Content-Type": "application/json" };
  if (token) headers["Authorization"] = `Bearer ${token}`;
  for (;;) {
    try {
      const init: RequestInit = { method, headers };
      if (body) init.body = JSON.stringify(body);
      const r = await fetch(at + path, init);
      const result = (await r.json()) as T;
      assert(r.ok, `${path}: ${JSON.stringify(result)}`);
      return result;
    } catch (err) {
      if (err instanceof assert.AssertionError) throw err; // else it was cut
    }
  }
}

async function say(path: string): Promise<void> {
  const r = await fetch(control + path, { method: "POST" });
  assert(r.ok, await r.text());
}

let people = 0;

/** Somebody new, with a token. */
async function person(at = url): Promise<{ id: string; token: string; name: string }> {
  const name = `p${++people}`;
  const { user } = await api<{ user: { user_id: string } }>("POST", "/v1/users", { username: name, password: "correct horse" }, undefined, at);
  const { token } = await api<{ token: string }>("POST", "/v1/sessions", { mechanism: "PLAIN", username: name, password: "correct horse" }, undefined, at);
  return { id: user.user_id, token, name };
}

function config(token: string, over: Partial<Config> = {}): Config {
  return { url, auth: { token }, WebSocket: Socket, minBackoffMs: 5, maxBackoffMs: 50, lazy: false, maxCatchUp: 0, ...over };
}

/** All messages of a chat, as a full read has them. */
async function all(token: string, chatId: string): Promise<Message[]> {
  const got: Message[] = [];
  for (let after = 0; ; ) {
    const page = await api<{ messages: Message[]; has_more_after: boolean }>("GET", `/v1/chats/${chatId}/messages?after=${after}&limit=200`, undefined, token);
    got.push(...page.messages);
    if (!page.has_more_after) return got;
    after = page.messages.at(-1)!.seq;
  }
}

const opened: Client[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((c) => c.close()));
});

/** Opens a client that ends with the test. */
async function start(cfg: Config, platform?: Platform): Promise<Client> {
  const c = await open(cfg, platform);
  opened.push(c);
  return c;
}

/** Waits until something that a client tells is so. */
function until(c: Client, what: string, so: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what}: not within a minute, ${JSON.stringify(c.connection)}`)), 60_000);
    const look = (): void => {
      if (!so()) return;
      clearTimeout(timer);
      off();
      resolve();
    };
    const off = c.onBatch(look);
    look();
  });
}

async function group(c: Client, ...others: string[]): Promise<string> {
  return (await c.call("chats.create", { kind: "group", title: "Port", user_ids: others })).chat.chat_id;
}

void test("the README's example", { skip, timeout: 300_000 }, async () => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const code = /```ts\n([^]*?)```/.exec(readme)![1]!.replace(/^import .*$/m, "");
  const [bot, ana] = [await person(), await person()];
  const clients: Client[] = [];
  const run = new Function("open", "url", "token", `return (async () => {${code}})()`) as (...args: unknown[]) => Promise<void>;
  const over = run(async (c: Config) => {
    const client = await start({ ...c, WebSocket: Socket });
    clients.push(client);
    return client;
  }, url, bot.token);
  const c = await start(config(ana.token));
  await c.ready();
  const { chat } = await c.call("chats.create", { kind: "private", user_id: bot.id });
  await c.send({ chatId: chat.chat_id, content: "is anybody there?" });
  await until(c, "the echo", () => c.chat(chat.chat_id)?.messages?.[0]?.sender_id === bot.id);
  assert.deepEqual((await all(ana.token, chat.chat_id)).map((m) => m.content), ["is anybody there?", "is anybody there?"]);
  await Promise.all([...clients, c].map((x) => x.close()));
  await over;
});

for (const keep of ["nothing", "memory", "IndexedDB"] as const) {
  void test(`nothing is lost, doubled or reordered over cuts, restarts and crashes, keeping ${keep}`, { skip, timeout: 300_000 }, async () => {
    const [ana, bob] = [await person(), await person()];
    const factory = new IDBFactory();
    const memory = memoryStore();
    const store = async () => (keep === "IndexedDB" ? { store: await indexedDBStore("bob", factory) } : keep === "memory" ? { store: memory } : {});
    const says = await start(config(ana.token));
    let hears = await start(config(bob.token, await store()));
    await says.ready();
    await hears.ready();
    const chat = await group(says, bob.id);
    const told = new Map<number, Message>();
    const order: number[] = [];
    let pos = 0;
    const listen = (c: Client): void => {
      c.on("*", (ev: Event) => {
        if (!("prevSeq" in ev) || ev.chatId !== chat) return;
        assert.notEqual(ev.kind, "skipped");
        assert(pos === 0 || ev.prevSeq === pos, `${ev.prevSeq} does not follow ${pos}`);
        pos = ev.seq;
        if (!("message" in ev)) return;
        if (ev.kind === "message.created") {
          assert(!told.has(ev.message.seq), `${ev.message.seq} is told twice`);
          order.push(ev.message.seq);
        }
        told.set(ev.message.seq, ev.message);
      });
    };
    listen(hears);
    await until(hears, "the chat", () => hears.chat(chat) !== undefined);
    await say("/chop?least=300&most=30000");
    const faults = ["/restart", "/crash", "/cut"];
    const sends: Promise<Item>[] = [];
    for (let i = 0; i < 90; i++) {
      sends.push(says.send({ chatId: chat, content: `${i} ${"x".repeat(i % 7)}` }));
      if (i % 9 === 8) {
        const item = await sends.at(-1)!;
        await says.call("message.edit", { chat_id: chat, seq: item.seq!, content: `${i} edited` });
        await say(faults[(i / 9) % 3 | 0]!);
      }
      if (i === 50 && keep !== "nothing") {
        // The page is loaded again.
        await hears.close();
        hears = await start(config(bob.token, await store()));
        listen(hears);
      }
    }
    await Promise.all(sends);
    await say("/chop?least=0&most=0");
    await says.ready();
    const want = await all(ana.token, chat);
    const last = want.reduce((n, m) => Math.max(n, m.updated_seq), 0);
    await until(hears, "everything", () => pos >= last);
    assert.equal(want.length, 90);
    assert.deepEqual(want.map((m) => m.content!.split(" ")[0]), [...want.keys()].map(String), "in the order they were said");
    assert.deepEqual([...told.values()].sort((a, b) => a.seq - b.seq), want);
    if (keep === "nothing") assert.deepEqual([...order].sort((a, b) => a - b), want.map((m) => m.seq), "each is new once");
    if (keep !== "nothing") {
      // What is kept is what there is, without a connection too.
      await say("/down");
      await until(hears, "the end of the connection", () => hears.connection.link !== "online");
      const w = hears.window(chat);
      await w.jump();
      while (await w.older());
      assert.deepEqual([...w.messages].filter((m) => m.seq > 2), want);
      await say("/up");
    }
    await Promise.all([says.close(), hears.close()]);
  });
}

void test("what is written offline survives a reload and goes out once, in order", { skip, timeout: 300_000 }, async () => {
  const ana = await person();
  const factory = new IDBFactory();
  let c = await start(config(ana.token, { store: await indexedDBStore("ana", factory) }));
  await c.ready();
  const chat = await group(c);
  await until(c, "the chat", () => c.chat(chat) !== undefined);
  await say("/down");
  const drafts: string[] = [];
  for (let i = 0; i < 5; i++) drafts.push((await c.queue({ chatId: chat, content: `offline ${i}` })).id);
  await c.setDraft(chat, "half a sen");
  await c.close();
  c = await start(config(ana.token, { store: await indexedDBStore("ana", factory) }));
  assert.deepEqual(c.outbox(chat).map((it) => it.id), drafts);
  assert.equal(c.draft(chat), "half a sen");
  assert.equal(c.self?.user_id, ana.id);
  assert.equal(c.chat(chat)?.title, "Port");
  await say("/up");
  await until(c, "the sends", () => c.outbox().length === 0);
  assert.deepEqual((await all(ana.token, chat)).map((m) => m.content), [0, 1, 2, 3, 4].map((i) => `offline ${i}`));
  await c.close();
});

void test("what is refused fails, can be tried again and taken out", { skip, timeout: 300_000 }, async () => {
  const ana = await person();
  const c = await start(config(ana.token));
  await c.ready();
  await assert.rejects(c.send({ chatId: "c_none", content: "hi" }), { reason: "refused", code: "not_found" });
  const [it] = c.outbox();
  assert.equal(it?.progress, "failed");
  await c.retry(it!.id);
  await until(c, "the second refusal", () => c.outbox()[0]?.progress === "failed" && c.outbox()[0]?.tries === 2);
  assert.equal(await c.discard(it!.id), false);
  assert.equal(c.outbox().length, 0);
  await assert.rejects(c.call("chats.get", { chat_id: "c_none" }), { reason: "refused", code: "not_found" });
  await c.close();
  await assert.rejects(c.call("users.me"), { reason: "closed" });
});

void test("a listed group that one joins is there from then on", { skip, timeout: 300_000 }, async () => {
  const [ana, bob] = [await person(), await person()];
  const owner = await start(config(ana.token));
  const c = await start(config(bob.token, { store: await indexedDBStore("b", new IDBFactory()) }));
  await Promise.all([owner.ready(), c.ready()]);
  for (let i = 0; i < 20; i++) {
    const { chat } = await owner.call("chats.create", { kind: "group", title: "Port", visibility: "listed" });
    await owner.send({ chatId: chat.chat_id, content: "welcome" });
    const told: string[] = [];
    const off = c.on("*", (ev: Event) => {
      if ("chatId" in ev && ev.chatId === chat.chat_id) told.push(ev.kind);
    });
    // Whoever is in there goes on talking.
    const [, sent] = await Promise.all([
      c.call("participants.add", { chat_id: chat.chat_id, user_ids: [bob.id] }),
      owner.send({ chatId: chat.chat_id, content: "anybody else?" }),
    ]);
    await until(c, "all of it", () => (c.chat(chat.chat_id)?.pos ?? 0) >= Math.max(3, sent.seq!));
    off();
    assert(!told.includes("chat.removed"), told.join());
    assert.equal(told.filter((kind) => kind === "chat.added").length, 1, told.join());
  }
});

void test("a revoked session stops the client", { skip, timeout: 300_000 }, async () => {
  const ana = await person();
  const c = await start(config(ana.token));
  await c.ready();
  const { sessions } = await c.call("sessions.list");
  const other = await api<{ token: string }>("POST", "/v1/sessions", { mechanism: "PLAIN", username: ana.name, password: "correct horse" });
  await api("DELETE", `/v1/sessions/${sessions[0]!.session_id}`, undefined, other.token);
  await until(c, "the end", () => c.connection.link === "stopped");
  assert.equal(c.error?.code, "session_revoked");
  await assert.rejects(c.call("users.me"), { reason: "goodbye" });
  await c.close();
});

void test("another user's store is refused, or forgotten", { skip, timeout: 300_000 }, async () => {
  const [ana, bob] = [await person(), await person()];
  const factory = new IDBFactory();
  let c = await start(config(ana.token, { store: await indexedDBStore("x", factory) }));
  await c.ready();
  await group(c);
  await until(c, "the chat", () => c.chats().length === 1);
  await c.queue({ chatId: "c_none", content: "mine" });
  await c.close();
  c = await start(config(bob.token, { store: await indexedDBStore("x", factory) }));
  await until(c, "the end", () => c.connection.link === "stopped");
  assert.equal(c.error?.reason, "other_user");
  await c.close();
  c = await start(config(bob.token, { store: await indexedDBStore("x", factory), otherUser: "forget" }));
  assert.equal(c.chats().length, 1);
  await c.ready();
  assert.deepEqual([c.chats().length, c.outbox().length, c.self?.user_id], [0, 0, bob.id]);
  await c.close();
});

void test("a client goes where it is sent: with its connection, and to ask", { skip, timeout: 300_000 }, async () => {
  const stream = process.env["GRIMA_STREAM_URL"]!;
  const data = process.env["GRIMA_DATA_URL"]!;
  const ana = await person(data);
  for (const at of [data, stream, stream.replace("http", "ws") + "/v1/ws"]) {
    const c = await start(config(ana.token, { url: at }));
    await c.ready();
    const chat = await group(c);
    const heard: string[] = [];
    c.on("message.created", (ev) => heard.push(ev.message.content!));
    await c.send({ chatId: chat, content: "hi" });
    const page = await c.call("messages.list", { chat_id: chat });
    assert.deepEqual(page.messages.map((m) => m.content), ["hi"]);
    await until(c, "the message", () => heard.includes("hi"));
    await assert.rejects(c.call("chats.list", { cursor: "no cursor" }), { reason: "refused", code: "cursor_invalid" });
    await c.close();
  }
});

void test("history both ways, from anywhere", { skip, timeout: 300_000 }, async () => {
  const ana = await person();
  const factory = new IDBFactory();
  const c = await start(config(ana.token, { store: await indexedDBStore("h", factory) }));
  await c.ready();
  const chat = await group(c);
  const sends: Promise<Item>[] = [];
  for (let i = 0; i < 180; i++) sends.push(c.send({ chatId: chat, content: `${i}` }));
  const seqs = (await Promise.all(sends)).map((it) => it.seq!);
  await c.close();
  // Another device, which has nothing.
  const d = await start(config(ana.token, { store: memoryStore() }));
  await d.ready();
  const w = d.window(chat);
  assert.equal(await w.jump(seqs[90]!), true);
  assert(!w.atStart && !w.atEnd && w.messages.some((m) => m.seq === seqs[90]));
  while (!w.atStart) assert.equal(await w.older(30), true);
  while (!w.atEnd) assert.equal(await w.newer(30), true);
  assert.deepEqual(w.messages.map((m) => m.content), seqs.map((_, i) => `${i}`));
  await d.send({ chatId: chat, content: "live" });
  await until(d, "the live one", () => w.messages.at(-1)?.content === "live");
  w.close();
  await d.close();
});

void test("people who change, and what one is told of", { skip, timeout: 300_000 }, async () => {
  const [ana, bob] = [await person(), await person()];
  const c = await start(config(ana.token));
  const d = await start(config(bob.token));
  await Promise.all([c.ready(), d.ready()]);
  const { chat } = await c.call("chats.create", { kind: "private", user_id: bob.id });
  await c.users([bob.id]);
  // A name comes by itself, and is what a look-up gives then; to oneself as well.
  await d.call("users.update", { name: "Bob O." });
  await until(c, "the name", () => c.user(bob.id)?.name === "Bob O.");
  assert.equal((await c.users([bob.id])).get(bob.id)?.name, "Bob O.");
  assert.equal(d.self?.name, "Bob O.");
  // Of what one wants to be told all of one's devices hear.
  const e = await start(config(ana.token));
  await e.ready();
  for (const notify of ["none", "mentions", "all"]) {
    await c.call("participants.update", { chat_id: chat.chat_id, user_id: ana.id, notify });
    for (const device of [c, e]) await until(device, "the level", () => (device.chat(chat.chat_id)?.notify ?? "all") === notify);
  }
  await e.close();
  await c.close();
  await d.close();
});

void test("tabs share one connection, and one that dies is followed by another", { skip, timeout: 300_000 }, async () => {
  const [ana, bob] = [await person(), await person()];
  const factory = new IDBFactory();
  const locks = new Locks();
  let sockets = 0;
  const deaths: (() => void)[] = [];
  const tab = async (): Promise<Client> => {
    let dead = false;
    const mine: { close(): void }[] = [];
    class Counted extends WebSocket {
      constructor(to: string, protocols?: string | string[]) {
        if (dead) throw new Error("this tab is dead");
        super(to, protocols);
        mine.push({ close: () => this.terminate() });
        sockets++;
      }
    }
    const platform: Platform = {
      locks: locks.tab(mine),
      channel: (name) => {
        const ch = new BroadcastChannel(name);
        const own: Channel = { onmessage: null, postMessage: (m) => void (dead || ch.postMessage(m)), close: () => ch.close() };
        ch.onmessage = (ev) => void (dead || own.onmessage?.(ev as unknown as MessageEvent));
        mine.push(own);
        return own;
      },
    };
    deaths.push(() => {
      dead = true;
      for (const x of mine) x.close();
    });
    return await start(config(ana.token, { store: await indexedDBStore("t", factory), tabs: `t-${ana.id}`, WebSocket: Counted as unknown as WebSocketConstructor }), platform);
  };
  const tabs = [await tab(), await tab(), await tab()];
  await Promise.all(tabs.map((t) => t.ready()));
  assert.equal(sockets, 1);
  assert.deepEqual(tabs.map((t) => t.leader), [true, false, false]);
  const [one, two, three] = tabs as [Client, Client, Client];

  // What one does, all see.
  const chat = await group(two, bob.id);
  await until(three, "the chat in another tab", () => three.chat(chat) !== undefined);
  await three.send({ chatId: chat, content: "from the third" });
  await until(one, "the message in the first", () => one.chat(chat)?.messages?.[0]?.content === "from the third");
  await two.setDraft(chat, "draft");
  await until(three, "the draft", () => three.draft(chat) === "draft");

  // The one with the connection dies while messages wait, without a word.
  const told = new Map<number, string>();
  three.on("message.created", (ev) => {
    assert(!told.has(ev.message.seq), "told twice");
    told.set(ev.message.seq, ev.message.content!);
  });
  await say("/down");
  const waiting = [two.send({ chatId: chat, content: "w0" }), three.send({ chatId: chat, content: "w1" }), two.send({ chatId: chat, content: "w2" })];
  await until(two, "the outbox", () => two.outbox().length === 3);
  const asked = three.call("users.me");
  deaths[0]!();
  await say("/up");
  await Promise.all(waiting);
  assert.equal((await asked).user.user_id, ana.id);
  assert.deepEqual([two.leader, three.leader].filter(Boolean).length, 1);
  const got = (await all(ana.token, chat)).map((m) => m.content);
  assert.deepEqual([got.length, ...got.slice(1).sort()], [4, "w0", "w1", "w2"]);
  await until(three, "what was sent", () => told.size === 3);
  // What the dead one still had to write finds that the store is another's by now.
  const lost = assert.rejects(one.send({ chatId: chat, content: "of the dead" }));

  // One that is closed with a word is followed at once, and the other hears of no end.
  const [leader, other] = two.leader ? [two, three] : [three, two];
  const links: string[] = [];
  other.on("connection", (ev) => links.push(ev.connection.link));
  const before = sockets;
  await leader.close();
  await until(other, "the other to lead", () => other.leader && other.connection.link === "online");
  assert(!links.includes("stopped"), links.join());
  assert.equal(sockets, before + 1);
  await other.send({ chatId: chat, content: "still here" });
  await one.close();
  await lost;
});
