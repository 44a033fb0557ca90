import assert from "node:assert/strict";
import test from "node:test";
import type { GrimaClient } from "../src/client.js";
import type { MessagesListParams, MessagesListResult } from "../src/protocol.gen.js";
import { memoryStore } from "../src/store.js";
import { Timeline } from "../src/timeline.js";
import type { Chat, Event } from "../src/types.js";
import { Window } from "../src/window.js";
import { message, stateOf } from "./talk.js";

const asked = { chat_id: "c_1" };

function page(from: number, to: number, last: number): MessagesListResult {
  const messages = Array.from({ length: to - from + 1 }, (_, i) => message(from + i));
  return { messages, has_more_before: from > 1, has_more_after: to < last, last_seq: last };
}

function chat(pos: number, last: number): Chat {
  return { ...stateOf("c_1", 1, last), pos };
}

function told(seq: number): Event {
  return { kind: "message.created", chatId: "c_1", prevSeq: seq - 1, seq, message: message(seq), state: chat(seq, seq) };
}

// What was asked for around a message, before the newest were, is not the present:
// a window that jumps there goes on down from it.
void test("a page in the middle is not the present", () => {
  const tl = new Timeline();
  tl.applyPage({ ...asked, around: 10 }, page(5, 15, 100));
  assert.deepEqual(tl.messages(), []);
  assert.deepEqual(tl.before("c_1"), { ...asked, limit: 50 });
  const p = tl.after("c_1", 10);
  assert.deepEqual(p, { ...asked, limit: 50, after: 15 });
  tl.applyPage(p!, page(16, 100, 100));
  assert.equal(tl.after("c_1", 10), undefined);
  assert.equal(tl.messages().length, 96);
  tl.apply(told(101));
  assert.equal(tl.messages().length, 97);
});

// A page of what was before may be ahead of the events: the present stays in the
// window meanwhile.
void test("a page ahead of the events leaves the present", () => {
  const tl = new Timeline();
  tl.applyPage(asked, page(51, 100, 100));
  const p = tl.before("c_1");
  assert.equal(p?.before, 51);
  tl.applyPage(p!, page(21, 50, 102));
  assert.equal(tl.messages().length, 80);
  assert.equal(tl.before("c_1")?.before, 21);
  assert.equal(tl.after("c_1")?.after, 100);
  tl.apply(told(101));
  tl.apply(told(102));
  assert.equal(tl.after("c_1"), undefined);
  assert.equal(tl.messages().length, 82);
});

// A store may know of more than it holds, and the last position that it holds need
// not be a message's.
void test("the newest that a store has are the present, and what else it has is not", async () => {
  const store = memoryStore();
  await store.apply([{ kind: "chat.added", chatId: "c_1", state: chat(100, 200) }]);
  await store.putPage(asked, { ...page(91, 99, 100), has_more_after: false }, 1);
  const kept = async (p: MessagesListParams) => (await store.page(p)).page;
  let tl = new Timeline();
  tl.applyPage(asked, await kept(asked));
  assert.equal(tl.messages().length, 9);
  const middle = { ...asked, around: 50 };
  await store.putPage(middle, page(45, 55, 200), 1);
  await store.putPage({ ...asked, around: 150 }, page(145, 155, 200), 1);
  tl = new Timeline();
  for (const p of [middle, { ...asked, around: 150 }]) {
    tl.applyPage(p, await kept(p));
    assert.deepEqual(tl.messages(), []);
  }
});

// As of a chat that is left where it is until it is in focus.
void test("a window that jumps ahead of what was told goes on down to the end", async () => {
  const asks: MessagesListParams[] = [];
  const pages = [page(475, 525, 600), page(526, 575, 600), page(576, 600, 600)];
  const client = {
    online: true,
    onBatch: () => () => undefined,
    on: () => () => undefined,
    chat: () => chat(50, 600),
    held: () => Promise.resolve(undefined),
    fetchHistory: (p: MessagesListParams) => Promise.resolve(pages[asks.push(p) - 1]),
  };
  const w = new Window(client as unknown as GrimaClient, "c_1");
  assert.equal(await w.jump(500), true);
  while (!w.atEnd) assert.equal(await w.newer(), true);
  assert.deepEqual(asks.map((p) => p.around ?? -p.after!), [500, -525, -575]);
  assert.deepEqual([w.messages.length, w.messages.at(-1)?.seq], [126, 600]);
  w.close();
});
