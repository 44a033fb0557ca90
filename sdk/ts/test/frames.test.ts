import assert from "node:assert/strict";
import test from "node:test";
import { GrimaError } from "../src/errors.js";
import { hello, Talk } from "./talk.js";

// Ports of the Go SDK's tests of what a server says at the beginning.

/** What is thrown, which has to be a GrimaError. */
function thrown(work: () => void): GrimaError | undefined {
  try {
    work();
  } catch (err) {
    assert(err instanceof GrimaError, String(err));
    return err;
  }
  return undefined;
}

for (const most of [-Number.MAX_SAFE_INTEGER, -1, 1, 10, 150, 400, Number.MAX_SAFE_INTEGER]) {
  void test(`a server that takes ${most} bytes at once`, () => {
    const k = new Talk();
    const queue = (id: string, content: string): void => k.s.enqueue(k.now, k.s.draft(k.now, { id, chatId: "c_1", content }));
    k.s.focus(k.now, ["c_1"]);
    k.s.connected(k.now);
    queue("before", "x".repeat(100));
    queue("later", "x".repeat(100));
    let broken = thrown(() => k.says(hello.replace(`"max_frame":65536`, `"max_frame":${most}`)));
    broken ??= thrown(() => k.login());
    queue("after", "x");
    k.s.markRead(k.now, "c_1", 5);
    k.s.focus(k.now, []);
    k.s.typing(k.now, "c_1", false);
    broken ??= thrown(() => k.s.tick(k.now));
    // One that takes nothing breaks the protocol; else what is too long fails, and the rest goes on.
    assert.equal(broken?.reason, most > 0 && most < 100 ? "server" : undefined, broken?.message);
    if (broken) {
      k.s.lost(k.now, broken);
      assert.equal(k.s.connection.link, "offline");
      assert(k.s.connection.retryAt! > k.now);
    }
    assert.equal(k.s.outbox().length, 3);
    k.s.take(1000);
  });
}

void test("one message of an id is in the outbox", () => {
  const k = new Talk();
  const it = k.s.draft(k.now, { id: "k", chatId: "c_1", content: "x" });
  k.s.enqueue(k.now, it);
  assert.equal(thrown(() => k.s.enqueue(k.now, it))?.reason, "refused");
  assert.equal(k.s.outbox().length, 1);
});

void test("a server of another version is the end", () => {
  for (const says of [
    (k: Talk) => k.says(hello.replace(`"protocol":1`, `"protocol":2`)),
    (k: Talk) => (k.says(hello), k.refuses("session.start", { code: "unsupported_version" })),
  ]) {
    const k = new Talk();
    k.s.connected(k.now);
    const err = thrown(() => says(k));
    assert.equal(err?.code, "unsupported_version");
    k.s.lost(k.now, err!);
    assert.equal(k.s.connection.link, "stopped");
  }
});
