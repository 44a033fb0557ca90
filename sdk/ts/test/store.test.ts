import assert from "node:assert/strict";
import test from "node:test";
import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { MemoryKv } from "../src/kv.js";
import { indexedDBStore, memoryStore, storeOn } from "../src/store.js";
import type { Chat, Event, Item, Store } from "../src/types.js";
import { message, stateOf } from "./talk.js";

Object.assign(globalThis, { IDBKeyRange });

const chat = (pos: number): Chat => ({ ...stateOf("c_1", 1, pos), pos });
const told = (seq: number): Event => ({ kind: "message.created", chatId: "c_1", seq, prevSeq: seq - 1, message: message(seq), state: chat(seq) });
const cursor = (c: string): Event => ({ kind: "cursor", userId: "u_1", epoch: "e", cursor: c, complete: true });

/** Two stores on the same rows, as two tabs have them. */
const twoInMemory = (): Promise<Store[]> => {
  const kv = new MemoryKv();
  return Promise.resolve([storeOn(kv), storeOn(kv)]);
};
const twoInIndexedDB = (): Promise<Store[]> => {
  const factory = new IDBFactory();
  return Promise.all([indexedDBStore("s", factory), indexedDBStore("s", factory)]);
};

for (const [name, make, two] of [
  ["memory", () => Promise.resolve(memoryStore()), twoInMemory],
  ["IndexedDB", () => indexedDBStore("s", new IDBFactory()), twoInIndexedDB],
] as [string, () => Promise<Store>, () => Promise<[Store, Store]>][]) {
  void test(`a store in ${name}: a batch and its cursor are kept together, or not at all`, async () => {
    const s = await make();
    await s.apply([{ kind: "chat.added", chatId: "c_1", state: chat(5) }, told(6), cursor("k1")]);
    // What makes the batch fail comes last.
    const bad = { kind: "outbox", chatId: "c_1", get item(): Item { throw new Error("no"); } } as Event;
    await assert.rejects(s.apply([told(7), cursor("k2"), { kind: "chat.removed", chatId: "c_1", seq: 8 }, bad]));
    const st = await s.load();
    assert.deepEqual([st.cursor, st.chats.map((c) => c.pos)], ["k1", [6]]);
    const held = await s.page({ chat_id: "c_1", limit: 10 });
    assert.deepEqual(held.page.messages.map((m) => m.seq), [6]);
    assert.equal(held.whole, false); // what is before 6 may be there
    await s.apply([{ kind: "reset", epoch: "f" }]);
    assert.deepEqual([(await s.load()).chats, (await s.load()).cursor], [[], ""]);
  });

  void test(`a store in ${name}: who took it last has it, and keeps it when it is emptied`, async () => {
    const [first, second] = await two();
    await first.take!();
    await first.apply([{ kind: "chat.added", chatId: "c_1", state: chat(5) }, cursor("k1")]);
    assert.deepEqual((await second.take!()).chats.map((c) => c.pos), [5]);
    const it: Item = { id: "i", chatId: "c_1", content: "x", progress: "pending", queuedAt: 1, tries: 0 };
    for (const late of [() => first.apply([told(6)]), () => first.put(it), () => first.drop("i")]) await assert.rejects(late(), { code: "taken" });
    await second.put(it);
    await second.apply([told(6), told(7)]);
    const st = await first.load();
    assert.deepEqual([st.chats[0]?.pos, st.outbox.map((x) => x.id)], [7, ["i"]], "anybody may read it");
    await second.clear();
    await assert.rejects(first.put(it), { code: "taken" });
    await second.put(it);
    await (await make()).apply([told(6)]); // of whom nobody took it
  });

  void test(`a store in ${name}: a page from far back is as new as what was told`, async () => {
    const s = await make();
    await s.apply([{ kind: "chat.added", chatId: "c_1", state: chat(99) }, told(100)]);
    await s.putPage({ chat_id: "c_1", around: 15, limit: 2 }, { messages: [message(14), message(15)], has_more_before: true, has_more_after: true, last_seq: 100 }, 1);
    const { page } = await s.page({ chat_id: "c_1", around: 15, limit: 2 });
    assert.deepEqual(page.messages.map((m) => m.seq), [14, 15]);
    assert.equal(page.last_seq, 100);
  });

  void test(`a store in ${name}: pages, and what is too old for them`, async () => {
    const s = await make();
    await s.apply([{ kind: "chat.added", chatId: "c_1", state: chat(9) }, told(10)]);
    const page = (seqs: number[], last_seq: number) => ({ messages: seqs.map((q) => message(q)), has_more_before: true, has_more_after: false, last_seq });
    const asked = { chat_id: "c_1", limit: 3 };
    await s.putPage(asked, page([4, 6, 8], 8), 1); // from before the chat was known
    await s.putPage(asked, page([4, 6, 8], 10), 2); // of another membership
    assert.deepEqual((await s.page(asked)).page.messages.map((m) => m.seq), [10]);
    await s.putPage(asked, page([4, 6, 8], 10), 1);
    const got = await s.page(asked);
    assert.deepEqual([got.page.messages.map((m) => m.seq), got.whole, got.page.has_more_before], [[6, 8, 10], true, true]);
    const back = await s.page({ chat_id: "c_1", limit: 3, before: 6 });
    assert.deepEqual([back.page.messages.map((m) => m.seq), back.whole], [[4], false]);
    const around = await s.page({ chat_id: "c_1", limit: 2, around: 6 });
    assert.deepEqual(around.page.messages.map((m) => m.seq), [4, 6]);
    // An old row never takes the place of a new one.
    await s.apply([{ ...told(11), message: message(4, 11, "edited"), kind: "message.updated" } as Event]);
    await s.putPage(asked, page([4, 6, 8], 10), 1);
    assert.equal((await s.page({ chat_id: "c_1", limit: 9 })).page.messages[0]?.content, "edited");
  });

  void test(`a store in ${name}: the outbox in order, drafts, people`, async () => {
    const s = await make();
    const item = (id: string, progress: Item["progress"]): Item => ({ id, chatId: "c_1", content: id, progress, queuedAt: 1, tries: 0 });
    for (const id of ["b", "a", "c"]) await s.put(item(id, "pending"));
    await s.apply([{ kind: "outbox", chatId: "c_1", item: item("a", "sent") }, { kind: "outbox", chatId: "c_1", item: item("b", "failed") }]);
    assert.deepEqual((await s.load()).outbox.map((x) => x.id + x.progress), ["bfailed", "cpending"]);
    await s.put(item("b", "pending")); // tried again, and so the last
    assert.deepEqual((await s.load()).outbox.map((x) => x.id), ["c", "b"]);
    await s.drop("c");
    await s.setDraft("c_1", "half");
    await s.putUsers([{ user_id: "u_2", username: "bob", name: "Bob" }]);
    assert.deepEqual([...(await s.drafts())], [["c_1", "half"]]);
    assert.deepEqual((await s.users(["u_1", "u_2"])).map((u) => u.name), ["Bob"]);
    await s.apply([{ kind: "user", user: { user_id: "u_2", username: "bob", name: "Bob O." } }]);
    assert.deepEqual((await s.users(["u_2"])).map((u) => u.name), ["Bob O."]);
    await s.clear();
    assert.deepEqual([(await s.load()).outbox, (await s.drafts()).size], [[], 0]);
  });
}
