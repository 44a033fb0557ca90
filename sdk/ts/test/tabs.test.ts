import assert from "node:assert/strict";
import test from "node:test";
import { memoryStore, open, type Channel, type Client, type Platform, type Store, type WebSocketConstructor, type WebSocketLike } from "../src/index.js";
import { Locks } from "./locks.js";
import { hello, started, stateOf } from "./talk.js";

// Who leads, with channels and locks that a test has in its hands.

/** A server that takes everybody, and answers nothing but the login and the sync. */
class Line implements WebSocketLike {
  static opened = 0;
  readyState = 1;
  onopen: ((ev: unknown) => void) | null = null;
  onmessage: ((ev: unknown) => void) | null = null;
  onclose: ((ev: unknown) => void) | null = null;
  onerror: ((ev: unknown) => void) | null = null;

  constructor() {
    Line.opened++;
    queueMicrotask(() => {
      this.onopen?.({});
      this.onmessage?.({ data: hello });
    });
  }

  send(line: string): void {
    const { id, op } = JSON.parse(line) as { id: number; op: string };
    if (op !== "session.start" && op !== "sync") return;
    const result = op === "sync" ? { chats: [stateOf("c_1", 2, 5)], cursor: "k1", has_more: false } : started;
    const type = op === "sync" ? "DataResponse" : "SessionResponse";
    queueMicrotask(() => this.onmessage?.({ data: JSON.stringify({ type, id, op, result }) }));
  }

  close(): void {
    this.readyState = 3;
  }
}

/** Tabs of one browser. */
class Browser {
  readonly #locks = new Locks();
  readonly #channels = new Set<Channel>();

  tab(): Platform {
    const channel = (): Channel => {
      const c: Channel = {
        onmessage: null,
        postMessage: (data) => {
          const said = structuredClone(data);
          queueMicrotask(() => {
            for (const o of this.#channels) if (o !== c) o.onmessage?.({ data: said } as MessageEvent);
          });
        },
        close: () => void this.#channels.delete(c),
      };
      this.#channels.add(c);
      return c;
    };
    return { locks: this.#locks.tab([]), channel };
  }
}

function start(store: Store, platform: Platform): Promise<Client> {
  return open({ url: "http://localhost", auth: { token: "gt_x" }, store, tabs: "t", WebSocket: Line as unknown as WebSocketConstructor }, platform);
}

/** Lets everything happen that waits for no timer. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((done) => setImmediate(done));
}

void test("a tab whose lock was taken while it read its store does not lead", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const [browser, kept] = [new Browser(), memoryStore()];
  let release = (): void => undefined;
  let loads = 0;
  const load = async () => {
    // The first is to show something, the second to lead.
    if (++loads === 2) await new Promise<void>((done) => (release = done));
    return await kept.load();
  };
  const slow = new Proxy(kept, { get: (of, name) => (name === "load" ? load : (of[name as keyof Store] as () => unknown).bind(of)) });
  const a = await start(slow, browser.tab());
  await settle();
  assert.equal(loads, 2);
  const b = await start(kept, browser.tab());
  const asked = assert.rejects(b.call("users.me"), { reason: "closed" });
  await settle();
  t.mock.timers.tick(5000); // nobody answers: b takes the lock
  await b.ready();
  assert.deepEqual([a.leader, b.leader, Line.opened], [false, true, 1]);
  release();
  await settle();
  assert.deepEqual([a.leader, b.leader, Line.opened], [false, true, 1]);
  assert.equal(a.connection.link, "online", "it hears b");
  await b.close();
  await asked;
  await settle();
  assert.equal(a.leader, true, "and leads when b is gone");
  await a.close();
});
