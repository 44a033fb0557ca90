import assert from "node:assert/strict";
import test from "node:test";
import { recount } from "../src/chats.js";
import { GrimaError } from "../src/errors.js";
import { addRange, removeRange, type Ranges } from "../src/ranges.js";
import { Timeline } from "../src/timeline.js";
import type { Chat, Event } from "../src/types.js";
import { changes, created, hello, message, online, started, stateOf, Talk } from "./talk.js";

// Ports of the Go SDK's tests of its session, line by line.

type Durable = Extract<Event, { prevSeq: number }>;

void test("a hole is filled", () => {
  const k = online();
  k.says(created(6));
  k.tells("message.created");
  k.says(created(9));
  k.asks("changes.list");
  k.says(created(10)); // still behind the hole
  k.tells();
  // 8 was an edit of 7, so that it comes once; 10 is not in the answer yet.
  k.answers("changes.list", changes([message(7, 8, "hi!"), message(9)], 9));
  const [a, b] = k.tells("message.created", "message.created") as Durable[];
  assert.deepEqual([a!.prevSeq, a!.seq, b!.prevSeq, b!.seq, b!.state.unread], [6, 8, 8, 9, 4]);
  k.asks("changes.list");
  k.answers("changes.list", changes([message(10)], 10));
  k.tells("message.created");
  k.asks();
  k.says(created(7), created(10)); // late
  k.tells();
  k.says(created(11));
  k.tells("message.created");
});

void test("what is new across pages", () => {
  const k = online();
  k.says(created(20));
  k.asks("changes.list");
  // 6 changed after the first page ended: it is new when it comes.
  k.answers("changes.list", changes([message(7)], 7, true));
  const [a] = k.tells("message.created") as Durable[];
  assert.deepEqual(a!.state.unseen, [{ from: 6, to: 6 }]);
  k.asks("changes.list");
  k.answers("changes.list", changes([message(7, 18), message(6, 19), message(20)], 20));
  k.tells("message.updated", "message.created", "message.created");
  assert.equal(k.s.chat("c_1")!.unseen, undefined);
});

// Of what the user wants to be told, one of their other devices says: at once,
// with a page of sync, and when an answer from before comes after it.
void test("levels", () => {
  const k = online();
  const own = (notify: string): void =>
    k.says(JSON.stringify({ type: "BroadcastResponse", event: "read", chat_id: "c_1", user_id: "u_1", read_seq: 4, notify }));
  const at = (notify: string): object => ({ ...stateOf("c_1", 2, 5), read_seq: 4, unread: 1, notify });
  const level = (): string | undefined => k.s.chat("c_1")!.notify;
  own("none");
  const [a] = k.tells("read") as Extract<Event, { kind: "read" }>[];
  assert.deepEqual([a!.state.notify, a!.state.unread], ["none", 1]);
  k.asks();
  // Others' marks and those of an older server say nothing of it.
  k.says(
    `{"type":"BroadcastResponse","event":"read","chat_id":"c_1","user_id":"u_2","read_seq":5,"notify":"all"}`,
    `{"type":"BroadcastResponse","event":"read","chat_id":"c_1","user_id":"u_1","read_seq":4}`,
  );
  k.tells("read", "read");
  assert.equal(level(), "none");

  // A state that was asked for before may be older.
  recount(k.s, k.s.chats.get("c_1")!);
  k.s.tick(k.now);
  k.asks("chats.get");
  own("mentions");
  k.tells("read");
  k.answers("chats.get", { chat: at("none") });
  k.asks("chats.get");
  assert.equal(level(), "mentions");
  own("all");
  k.tells("chat.state", "read");
  k.answers("chats.get", { chat: at("mentions") });
  k.asks("chats.get");
  assert.equal(level(), undefined);
  k.answers("chats.get", { chat: at("none") }); // it has the last word
  k.asks();
  assert.equal(level(), "none");
});

void test("an unknown event moves on", () => {
  const k = online();
  k.says(`{"type":"BroadcastResponse","event":"reaction.added","chat_id":"c_1","seq":6,"who":{"knows":1.5}}`);
  k.tells("moved");
  k.says(`{"type":"Weather","sunny":true}`, created(7));
  k.tells("message.created");
});

void test("people who change", () => {
  const k = online();
  const says = (user?: object): void => k.says(JSON.stringify({ type: "BroadcastResponse", event: "user", user }));
  says({ user_id: "u_2", username: "bob", name: "Bob O.", avatar: "a1", later: {} });
  const [ev] = k.tells("user") as { user: { name: string; avatar: string } }[];
  assert.deepEqual([ev!.user.name, ev!.user.avatar], ["Bob O.", "a1"]);
  k.s.user = { ...k.s.user, hides_presence: true };
  says({ user_id: "u_1", username: "me", name: "Myself" });
  k.tells("self");
  assert.deepEqual([k.s.user.name, k.s.user.hides_presence], ["Myself", true]);
  says();
  says({ user_id: "", username: "", name: "" });
  k.tells();
});

void test("a slow reader", () => {
  const k = online({ buffer: 1 });
  for (let seq = 6; seq <= 5000; seq++) k.says(created(seq));
  assert.equal(k.s.waiting, 256);
  k.asks(); // there is no room for what was left out
  assert.equal(k.s.take(100).length, 100);
  k.s.tick(k.now);
  k.asks(); // nor now
  k.s.take(1000);
  k.s.tick(k.now);
  assert.equal(k.asks("changes.list")[0]!.params["after"], 5 + 256);
  assert(k.s.sync.heard, "the cursor will not move on");
});

void test("a chat that was left stays left", () => {
  const k = online();
  k.says(created(9));
  k.asks("changes.list");
  const gone = { user_id: "u_1", role: "member", joined_seq: 2, left_seq: 10, updated_seq: 10 };
  k.says(JSON.stringify({ type: "BroadcastResponse", event: "participant.removed", chat_id: "c_1", seq: 10, participant: gone, actor_id: "u_2" }));
  assert.equal((k.tells("chat.removed")[0] as { seq: number }).seq, 10);
  // The answer was asked for before, and so was a state.
  k.answers("changes.list", changes([message(7)], 9));
  k.tells();
  k.now += 300_000;
  k.s.progress(k.now);
  k.tells();
  k.asks("sync");
  k.synced(stateOf("c_1", 2, 9));
  k.tells("cursor");
  assert.equal(k.s.list().length, 0);
  // Coming back makes another chat of it.
  const back = { user_id: "u_1", role: "member", joined_seq: 12, updated_seq: 12 };
  k.says(JSON.stringify({ type: "BroadcastResponse", event: "participant.added", chat_id: "c_1", seq: 12, participant: back, actor_id: "u_2" }));
  k.asks("chats.get");
  k.answers("chats.get", { chat: stateOf("c_1", 12, 12) });
  assert.equal((k.tells("chat.added")[0] as { state: Chat }).state.pos, 11);
  k.asks("changes.list");
});

function queue(k: Talk, id: string, chatId: string): void {
  k.s.enqueue(k.now, k.s.draft(k.now, { id, chatId, content: id }));
}

void test("another epoch", () => {
  const k = online();
  queue(k, "a", "c_1");
  k.asks("message.send");
  k.tells("outbox");
  k.lost();
  k.tells("connection");
  k.s.connected(k.now);
  k.asks("session.start");
  k.login({ epoch: "f" });
  const [send, sync] = k.asks("message.send", "sync");
  assert.equal(send!.params["client_msg_id"], "a");
  assert.equal(sync!.params["cursor"], undefined);
  const evs = k.tells("self", "reset", "connection");
  assert.equal((evs[1] as { epoch: string }).epoch, "f");
});

void test("an invalid cursor starts over", () => {
  const k = online();
  k.again();
  k.refuses("sync", { code: "cursor_invalid" });
  assert.equal(k.asks("sync")[0]!.params["cursor"], undefined);
  k.tells("reset", "connection");
  assert.throws(() => k.refuses("sync", { code: "cursor_invalid" }), (e: GrimaError) => e.reason === "server");
});

void test("history went back", () => {
  const k = online();
  k.again();
  k.synced(stateOf("c_1", 2, 3));
  assert.equal(k.asks("sync")[0]!.params["cursor"], undefined);
  k.synced(stateOf("c_1", 2, 3));
  assert.equal(k.s.chat("c_1")!.pos, 3);
});

void test("the outbox keeps its order in each chat", () => {
  const k = online();
  queue(k, "a1", "c_1");
  queue(k, "a2", "c_1");
  queue(k, "b1", "c_2");
  const ids = (...ops: string[]) => k.asks(...ops).map((r) => r.params["client_msg_id"]);
  assert.deepEqual(ids("message.send", "message.send"), ["a1", "b1"]);
  k.tells("outbox", "outbox", "outbox");
  k.refuses("message.send", { code: "rate_limited", retryable: true, retry_after_ms: 5000 }, k.s.lastId - 1);
  k.tells("outbox");
  k.asks();
  k.refuses("message.send", { code: "not_found" });
  const [failed] = k.tells("outbox") as Extract<Event, { kind: "outbox" }>[];
  assert.equal(failed!.item.progress, "failed");
  assert.equal(failed!.item.error?.code, "not_found");
  k.now += 5000;
  k.s.progress(k.now);
  k.tells();
  k.asks(); // and some random time
  assert.equal(k.s.deadline() - k.now, 1000);
  k.now += 1000;
  k.tells();
  assert.deepEqual(ids("message.send"), ["a1"]);
  // The answer is lost, and so it is asked again, with the same id.
  k.lost();
  k.s.connected(k.now);
  k.login();
  assert.deepEqual(ids("session.start", "message.send", "sync")[1], "a1");
  k.s.take(100);
  k.answers("message.send", { chat_id: "c_1", seq: 6, created_at: "t", duplicate: true }, k.s.lastId - 1);
  const [sent] = k.tells("outbox") as Extract<Event, { kind: "outbox" }>[];
  assert.deepEqual([sent!.item.progress, sent!.item.seq], ["sent", 6]);
  assert.deepEqual(ids("message.send"), ["a2"]);
  k.refuses("message.send", { code: "idempotency_conflict" });
  assert.deepEqual(k.s.outbox().map((x) => [x.id, x.progress]), [["a2", "failed"], ["b1", "failed"]]);
  k.s.retry(k.now, "b1");
  k.asks("message.send");
  assert.equal(k.s.discard("a2"), false);
});

const event = (over: object) => JSON.stringify({ type: "BroadcastResponse", event: "gap", chat_id: "c_1", seq: 6, ...over });
const bye = (code: string, reconnect: boolean, more: object = {}) => JSON.stringify({ type: "Goodbye", code, message: "m", reconnect, ...more });

for (const c of [
  { name: "not JSON", lines: ["{"], want: /a line that is none/ },
  { name: "one name twice", lines: [`{"type":"Pong","type":"Pong"}`], want: /twice/ },
  { name: "a seq that is a string", lines: [event({ seq: "6" })], want: /a whole number is due/ },
  { name: "a position backwards", lines: [event({ prev_seq: 9 })], want: /from 9 to 6/ },
  { name: "a negative position", lines: [event({ seq: -6 })], want: /from -7 to -6/ },
  { name: "a position without end", lines: [event({}).replace(":6", ":9223372036854775807")], want: /whole number/ },
  { name: "a message of another chat", lines: [event({ message: { ...message(6), chat_id: "c_2" } })], want: /does not belong/ },
  { name: "a message of the future", lines: [event({ event: "message.updated", message: message(7) })], want: /does not belong/ },
  { name: "no chat", lines: [event({ chat_id: undefined })], want: /of no chat/ },
  { name: "an answer that nobody asked for", lines: [`{"type":"DataResponse","id":77,"op":"sync","result":{}}`], want: /not asked/ },
  { name: "an answer without id", lines: [`{"type":"DataResponse","op":"sync","result":{}}`], want: /not asked/ },
  { name: "an error of a line of ours", lines: [`{"type":"Error","error":{"code":"parse_error","message":"what?","retryable":false}}`], want: /what\?/ },
  { name: "changes that do not get on", page: [changes([], 5, true)], want: /page of changes/ },
  { name: "changes that end too early", page: [changes([], 5), changes([], 5)], want: /further than its changes/ },
  { name: "changes from before", page: [changes([message(3)], 9)], want: /has one of 3/ },
  { name: "changes of the wrong shape", page: [{ messages: 7 }], want: /wrong shape/ },
  { name: "silence", after: 75_000, want: /nothing was heard/ },
  { name: "no answer", ask: true, after: 90_000, want: /no answer to changes.list/ },
  { name: "slow consumer", lines: [bye("slow_consumer", true)], want: /slow_consumer/ },
  { name: "a goodbye of a later version", lines: [bye("lunch", false)], want: /lunch/, stops: true },
  { name: "revoked", lines: [bye("session_revoked", false)], want: /session_revoked/, stops: true },
  { name: "another version", lines: [hello.replace(`"protocol":1`, `"protocol":2`)], want: /version 2/, stops: true },
  { name: "a ping", lines: [`{"type":"Ping","id":"p1"}`] },
  { name: "members of a later version", lines: [`{"type":"Pong","mood":"good"}`, event({ event: "presence", chat_id: undefined, seq: undefined, online: true })] },
] as { name: string; lines?: string[]; page?: unknown[]; ask?: boolean; after?: number; want?: RegExp; stops?: boolean }[]) {
  void test(`an ending: ${c.name}`, () => {
    const k = online();
    let failure: GrimaError | undefined;
    try {
      for (const l of c.lines ?? []) k.says(l);
      if (c.page || c.ask) k.says(created(9));
      for (const p of c.page ?? []) k.answers("changes.list", p);
      if (c.after) {
        const at = k.now + c.after;
        if (c.ask) k.s.line(at - 1, `{"type":"Pong"}`);
        k.s.tick(at - 1);
        k.s.tick(at);
      }
      k.s.tick(k.now);
    } catch (err) {
      assert(err instanceof GrimaError, String(err));
      failure = err;
    }
    if (!c.want) return assert.equal(failure, undefined);
    assert.match(failure?.message ?? "none", c.want);
    k.s.lost(k.now, failure!);
    assert.equal(k.s.stopped !== undefined, c.stops ?? false);
    if (c.stops) assert.equal(k.s.connection.link, "stopped");
    else assert(k.s.connection.retryAt! > k.now);
  });
}

void test("coming back", () => {
  const k = online();
  const goodbye = (ms: number): number => {
    try {
      k.says(bye("shutdown", true, { reconnect_after_ms: ms }));
    } catch (err) {
      k.s.lost(k.now, err as GrimaError);
    }
    return k.s.connection.retryAt! - k.now;
  };
  assert.equal(goodbye(2740), 2740);
  // From there on the bound doubles.
  for (const s of [2, 4, 8, 16, 32, 60, 60]) assert.equal(k.lost(), s * 1000);
  // A connection that lasts is a new beginning.
  k.s.connected(k.now);
  k.says(hello);
  k.login();
  k.now += 30_000;
  assert.equal(k.lost(), 1000);
  k.s.connected(k.now);
  k.says(hello);
  k.login();
  k.now += 30_000;
  assert.equal(goodbye(2 ** 50), 3_600_000);
});

void test("an endless sync is ended", () => {
  const k = new Talk();
  k.s.connected(k.now);
  k.says(hello);
  k.login();
  assert.throws(() => {
    for (let n = 0; n < 10_001; n++) {
      k.answers("sync", { chats: [], cursor: `k${n}`, has_more: true });
      k.s.output();
      k.s.take(10);
    }
  }, (e: GrimaError) => e.reason === "server");
});

void test("the beginning is the subscription", () => {
  const k = new Talk();
  k.s.connected(k.now);
  k.says(hello);
  k.login();
  k.asks("session.start", "sync");
  k.says(created(6));
  k.synced(stateOf("c_1", 2, 6));
  k.asks("changes.list");
  k.answers("changes.list", changes([message(6)], 6));
  const evs = k.tells("self", "chat.added", "cursor", "connection", "synced", "message.created");
  assert.equal((evs[1] as { state: Chat }).state.pos, 5);
  assert.equal((evs[2] as { complete: boolean }).complete, true);
});

void test("a chat that one came to while away is told from there on", () => {
  const k = online();
  k.again();
  k.synced(stateOf("c_2", 3, 9));
  assert.equal(k.asks("changes.list")[0]!.params["after"], 2);
  k.tells("chat.added", "cursor", "connection", "synced");
});

void test("what a cursor covers is told before it", () => {
  const k = online({ lazy: true });
  k.again();
  k.s.removals.add("c_7").add("c_8");
  k.synced(stateOf("c_1", 2, 9), stateOf("c_8", 9, 9));
  const evs = k.s.take(1000);
  const at = (kind: string, id?: string) => evs.findIndex((ev) => ev.kind === kind && (!id || ("chatId" in ev && ev.chatId === id)));
  const state = at("chat.state", "c_1");
  const order = [at("chat.removed", "c_8"), at("chat.added", "c_8")];
  assert(Math.min(state, at("chat.removed", "c_7"), ...order) >= 0 && order[0]! < order[1]!);
  assert(Math.max(state, at("chat.removed", "c_7"), ...order) < at("cursor"));
  const st = (evs[state] as { state: Chat }).state;
  assert.deepEqual([st.last_seq, st.pos], [9, 5]);
  k.asks(); // lazy
  k.s.focus(k.now, ["c_1"]);
  k.tells();
  k.asks("session.update", "changes.list");
});

void test("a gap is asked for", () => {
  const k = online();
  k.says(event({ seq: 8, prev_seq: 5 }));
  k.asks("changes.list");
  k.answers("changes.list", changes([], 8));
  const [ev] = k.tells("moved") as Durable[];
  assert.deepEqual([ev!.prevSeq, ev!.seq], [5, 8]);
});

void test("who left and came back unheard has another chat", () => {
  let k = online();
  k.again();
  k.says(created(20));
  k.asks("changes.list");
  const self = { user_id: "u_1", role: "member", joined_seq: 15, updated_seq: 15 };
  k.answers("changes.list", changes([message(20)], 20, false, [self]));
  k.tells("chat.removed");
  k.answers("sync", { chats: [stateOf("c_1", 15, 20)], cursor: "k2", has_more: false }, k.s.lastId - 1);
  assert.equal((k.tells("chat.added", "cursor", "connection", "synced")[0] as { state: Chat }).state.pos, 14);
  // And by the sync, if that comes first.
  k = online();
  k.again();
  k.synced(stateOf("c_1", 15, 20));
  k.tells("chat.removed", "chat.added", "cursor", "connection", "synced");
});

void test("an old removal is old", () => {
  const k = online();
  k.again();
  k.synced(stateOf("c_1", 7, 7));
  k.tells("chat.removed", "chat.added", "cursor", "connection", "synced");
  const removed = (joined: number, left: number): string =>
    JSON.stringify({
      type: "BroadcastResponse",
      event: "participant.removed",
      chat_id: "c_1",
      seq: left,
      participant: { user_id: "u_1", role: "member", joined_seq: joined, left_seq: left, updated_seq: left },
      actor_id: "u_2",
    });
  // The page was quicker than the events before it.
  k.says(removed(2, 6));
  k.tells();
  assert.equal(k.s.chat("c_1")!.joined_seq, 7);
  k.says(removed(7, 8));
  k.tells("chat.removed");
});

void test("too much to tell is skipped", () => {
  const k = online({ maxCatchUp: 10 });
  k.again();
  k.synced(stateOf("c_1", 2, 99));
  const ev = k.tells("chat.state", "cursor", "connection", "synced", "skipped")[4] as Durable;
  assert.deepEqual([ev.prevSeq, ev.seq, ev.state.pos], [5, 99, 99]);
  k.asks();
  k.says(created(100));
  k.tells("message.created");
});

void test("a login that is refused is the end, one that is put off is not", () => {
  for (const c of [
    { error: { code: "unauthenticated" }, stops: true },
    { error: { code: "token_expired" }, stops: true },
    { error: { code: "rate_limited", retryable: true, retry_after_ms: 5000 }, wait: 6000 },
    { error: { code: "of a later version", retryable: true }, wait: 1000 },
    { user: "u_2", stops: true },
    { nobody: true, wait: 1000 },
  ] as { error?: { code: string }; user?: string; nobody?: boolean; stops?: boolean; wait?: number }[]) {
    const k = new Talk();
    if (c.user) k.s.user = { user_id: c.user, username: "", name: "" };
    k.s.connected(k.now);
    k.says(hello);
    assert.throws(() => {
      if (c.error) k.refuses("session.start", c.error);
      else k.login(c.nobody ? { user: { ...started.user, user_id: "" } } : {});
    }, (err: GrimaError) => {
      k.s.lost(k.now, err);
      return true;
    });
    if (c.stops) assert.equal(k.s.connection.link, "stopped");
    else assert.equal(k.s.connection.retryAt! - k.now, c.wait);
  }
});

void test("what was said of the screen is said again", () => {
  const k = online();
  k.s.focus(k.now, ["c_1"]);
  k.s.setActive(k.now, false);
  assert.deepEqual(k.asks("session.update", "session.update").map((r) => r.params), [{ focus: ["c_1"] }, { active: false }]);
  k.lost();
  k.s.connected(k.now);
  k.login();
  assert.deepEqual(k.asks("session.start", "session.update", "sync")[1]!.params, { focus: ["c_1"], active: false });
});

void test("ranges", () => {
  let r: Ranges = [];
  for (const [add, from, to, want] of [
    [1, 5, 7, "5-7"], [1, 9, 9, "5-7 9-9"], [1, 8, 8, "5-9"], [1, 1, 2, "1-2 5-9"], [1, 20, 10, "1-2 5-9"],
    [0, 6, 7, "1-2 5-5 8-9"], [1, 2, 30, "1-30"], [0, 1, 1, "2-30"], [0, 31, 40, "2-30"], [0, 25, 40, "2-24"], [0, 0, 99, ""],
  ] as [number, number, number, string][]) {
    r = add ? addRange(r, from, to) : removeRange(r, from, to);
    assert.equal(r.map((g) => `${g.from}-${g.to}`).join(" "), want);
  }
});

void test("a timeline", () => {
  const told = (seq: number, at: number): Event => ({
    kind: "message.updated", chatId: "c_1", seq: at, prevSeq: at - 1, message: message(seq, at), state: stateOf("c_1", 1, at) as unknown as Chat,
  });
  const page = (messages: ReturnType<typeof message>[], last_seq: number, has_more_before = false, has_more_after = false) => ({ messages, last_seq, has_more_before, has_more_after });
  const stale = (e: GrimaError) => e.reason === "stale_page";
  let tl = new Timeline();
  tl.apply({ kind: "chat.added", chatId: "c_1", state: { ...stateOf("c_1", 1, 50), pos: 50 } });
  assert.deepEqual(tl.before("c_1", 0, 20), { chat_id: "c_1", limit: 20 });
  const asked = { chat_id: "c_1" };
  assert.throws(() => tl.applyPage(asked, page([message(40), message(45)], 49, true)), stale);
  // The page was under way when 40 changed.
  tl.apply(told(40, 51));
  tl.applyPage(asked, page([message(40), message(45)], 50, true));
  assert.deepEqual(tl.messages().map((m) => m.updated_seq), [51, 45]);
  assert.equal(tl.before("c_1", 0, 20)?.before, 40);
  assert.equal(tl.after("c_1", 0, 20), undefined);
  // So many changes of what is not held that they are let go.
  let at = 51;
  for (let seq = 1; seq <= 39; seq++) for (let i = 0; i < 20; i++) tl.apply(told(seq, ++at));
  assert.throws(() => tl.applyPage({ ...asked, before: 40 }, page([message(1)], 51, false, true)), stale);
  tl.applyPage({ ...asked, before: 40 }, page([message(1)], at, false, true));
  assert.equal(tl.before("c_1", 0, 20), undefined);
  // A jump to somewhere else, and on from there.
  tl = new Timeline();
  tl.applyPage({ ...asked, around: 10 }, page([message(9), message(12)], 99, true, true));
  tl.apply(told(100, 100));
  assert.equal(tl.after("c_1", 10, 20)?.after, 12);
  assert.equal(tl.before("c_1", 10, 20)?.before, 9);
  assert.equal(tl.messages(10).length, 2);
  assert.equal(tl.message(50), undefined);
  tl.apply({ kind: "skipped", chatId: "c_1", prevSeq: 100, seq: 200, state: { ...stateOf("c_1", 1, 200), pos: 200 } });
  assert.equal(tl.messages().length, 0);
  assert.throws(() => tl.applyPage({ ...asked, around: 10 }, page([message(9), message(12)], 199, true, true)), stale);
});
