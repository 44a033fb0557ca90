import assert from "node:assert/strict";
import test from "node:test";
import { repeatable } from "../src/operations.js";
import { backoff, settings } from "../src/settings.js";

// Ports of the Go SDK's tests: TestRepeatable of protocol, TestWaitsForAsLongAsConfigured of client.

for (const [op, params, want] of [
  ["chats.create", { kind: "group", title: "x" }, false],
  ["chats.create", { kind: "group", title: "x", client_chat_id: "k" }, true],
  ["chats.create", { kind: "group", title: "x", client_chat_id: "" }, false],
  ["chats.create", { kind: "group", title: "x", client_msg_id: "k" }, false],
  ["chats.create", { kind: "private", user_id: "u_1" }, true],
  ["chats.create", undefined, false],
  ["message.send", { chat_id: "c_1", content: "x", client_msg_id: "k" }, true],
  ["message.send", { chat_id: "c_1", content: "x", client_msg_id: "" }, false],
  ["message.send", { chat_id: "c_1", content: "x", client_chat_id: "k" }, false],
  ["message.send", { chat_id: "c_1", content: "x", kind: "private" }, false],
  ["message.edit", {}, true],
  ["read.set", {}, true],
  ["participants.add", {}, true],
  ["participants.remove", {}, false],
  ["users.me", undefined, true],
  ["invites.create", {}, false],
  ["later.op", { client_msg_id: "k" }, false],
  ["toString", {}, false],
] as const) {
  void test(`${op} of ${JSON.stringify(params)} may ${want ? "" : "not "}be asked again`, () => assert.equal(repeatable(op, params), want));
}

void test("the wait gets from minBackoffMs to maxBackoffMs, however far apart", () => {
  const cfg = settings({ login: { mechanism: "COOKIE" }, minBackoffMs: 1, maxBackoffMs: 3_600_000, jitter: (ms) => ms });
  assert.deepEqual([0, 9, 23, 5000].map((tries) => backoff(cfg, tries)), [1, 512, 3_600_000, 3_600_000]);
});
