import assert from "node:assert/strict";
import test from "node:test";
import { memoryStore, open, type Client, type WebSocketConstructor, type WebSocketLike } from "../src/index.js";
import { hello, online, started, stateOf } from "./talk.js";

// What becomes of a client when the machine's clock is put back.

const hour = 3_600_000;

/** The machine's clock, put back by so much for a test. */
const real = Date.now;
function putBack(ms: number): void {
  Date.now = () => real() - ms;
}

/** A server that is not busy any more when the test says so. */
class Line implements WebSocketLike {
  static made = 0;
  static last: Line;
  static busy = false;
  readyState = 1;
  onopen: ((ev: unknown) => void) | null = null;
  onmessage: ((ev: unknown) => void) | null = null;
  onclose: ((ev: unknown) => void) | null = null;
  onerror: ((ev: unknown) => void) | null = null;

  constructor() {
    Line.made++;
    Line.last = this;
    queueMicrotask(() => {
      this.onopen?.({});
      this.onmessage?.({ data: hello });
    });
  }

  send(line: string): void {
    const { id, op, params } = JSON.parse(line) as { id: number; op: string; params: { chat_id: string } };
    const type = op === "session.start" ? "SessionResponse" : op === "message.send" ? "BroadcastResponse" : "DataResponse";
    const answer: Record<string, unknown> = { type, id, op };
    if (op === "session.start") answer["result"] = started;
    else if (op === "sync") answer["result"] = { chats: [stateOf("c_1", 2, 5)], cursor: "k1", has_more: false };
    else if (op === "message.send" && !Line.busy) answer["result"] = { chat_id: params.chat_id, seq: 6, created_at: "", duplicate: false };
    else if (op === "message.send") answer["error"] = { code: "unavailable", message: "", retryable: true };
    else return;
    queueMicrotask(() => this.onmessage?.({ data: JSON.stringify(answer) }));
  }

  close(): void {
    this.readyState = 3;
  }
}

async function start(): Promise<Client> {
  const c = await open({
    url: "http://localhost", auth: { token: "gt_x" }, store: memoryStore(), WebSocket: Line as unknown as WebSocketConstructor,
    minBackoffMs: 500, maxBackoffMs: 500,
  });
  await c.ready();
  return c;
}

void test("a client whose clock is put back comes back in time", { timeout: 30_000 }, async () => {
  const c = await start();
  try {
    const made = Line.made;
    Line.last.onclose?.({ code: 1006 });
    while (c.connection.link !== "offline") await Promise.resolve();
    putBack(hour);
    await c.ready({ signal: AbortSignal.timeout(10_000) });
    assert.equal(Line.made, made + 1);
  } finally {
    await c.close();
    putBack(0);
  }
});

void test("a client whose clock is put back tries again what was refused for the moment", { timeout: 30_000 }, async () => {
  const c = await start();
  try {
    Line.busy = true;
    const { id } = await c.queue({ chatId: "c_1", content: "hello" });
    while (!c.outbox()[0]?.error) await new Promise((done) => setImmediate(done));
    putBack(hour);
    Line.busy = false;
    const sent = await c.send({ id, chatId: "c_1", content: "hello" }, { signal: AbortSignal.timeout(10_000) });
    assert.equal(sent.seq, 6);
  } finally {
    await c.close();
    putBack(0);
  }
});

void test("all that a session waits for is put back with the clock", () => {
  const k = online();
  k.s.enqueue(k.now, k.s.draft(k.now, { id: "a", chatId: "c_1", content: "a" }));
  k.asks("message.send");
  k.refuses("message.send", { code: "unavailable", retryable: true, retry_after_ms: 1000 });
  const due = k.s.deadline() - k.now;
  k.s.putBack(hour);
  k.now -= hour;
  assert.equal(k.s.deadline() - k.now, due);
  k.now += 2000;
  k.s.tick(k.now);
  k.asks("message.send");
  k.now += 75_000; // two and a half of the heartbeats that were granted
  assert.throws(() => k.s.tick(k.now), /nothing was heard/);
  const wait = k.lost();
  k.s.putBack(hour);
  assert.equal(k.s.connection.retryAt, k.now + wait - hour);
});
