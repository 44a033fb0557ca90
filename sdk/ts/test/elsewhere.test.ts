import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import test from "node:test";
import { askElsewhere, refusedElsewhere } from "../src/elsewhere.js";
import { GrimaError } from "../src/errors.js";
import { open, type Config, type WebSocketConstructor, type WebSocketLike } from "../src/index.js";
import { misdirected } from "../src/roles.js";
import { hello, started } from "./talk.js";

// Where a client that is sent elsewhere goes, and where not. That it goes there is
// in live.test.ts, with real servers.

const cfg: Config = { auth: { token: "gt_secret" } };

function sent(url: string): GrimaError {
  return new GrimaError({ reason: "refused", code: "misdirected", message: "not here", url });
}

void test("a token goes elsewhere in TLS, or within this machine", () => {
  const http = ["https:", "http:"];
  for (const url of ["https://data.example.org", "http://127.0.0.1:7007", "http://localhost", "http://[::1]:1"]) {
    assert.equal(misdirected(cfg, sent(url), ...http)?.origin, url, url);
  }
  for (const url of ["", "nowhere", "http://data.example.org", "http://127.0.0.1.example.org", "wss://data.example.org", "grimas://data.example.org"]) {
    assert.equal(misdirected(cfg, sent(url), ...http), undefined, url);
  }
  assert.equal(misdirected({ ...cfg, insecure: true }, sent("http://data.example.org"), ...http)?.host, "data.example.org");
  assert.equal(misdirected({ auth: "cookie" }, sent("https://data.example.org"), ...http), undefined, "a cookie");
  assert.equal(misdirected(cfg, new GrimaError({ reason: "refused", code: "not_found", message: "", url: "https://a" }), ...http), undefined);
  assert.equal(misdirected(cfg, new Error("misdirected"), ...http), undefined);
});

/** A server for one test, and what was asked of it. */
async function serve(answer: (req: IncomingMessage, res: ServerResponse) => void): Promise<{ url: URL; asked: string[]; end: () => void }> {
  const asked: string[] = [];
  const server: Server = createServer((req, res) => {
    let body = "";
    req.on("data", (b) => (body += b));
    req.on("end", () => {
      asked.push(`${req.method} ${req.url} ${req.headers.authorization ?? "no token"} ${body}`);
      answer(req, res);
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const end = (): void => {
    server.closeAllConnections();
    server.close();
  };
  return { url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`), asked, end };
}

void test("what is asked elsewhere is answered, refused, or lost", async () => {
  let say = "";
  const s = await serve((req, res) => (say === "" ? req.socket.destroy() : res.end(say)));
  try {
    say = `{"type":"DataResponse","op":"users.get","result":{"user":{"user_id":"u_1","username":"ana","name":"Ana"}}}`;
    const got = (await askElsewhere(cfg, s.url, "users.get", { user_id: "u_1" }, true)) as { user: { name: string } };
    assert.equal(got.user.name, "Ana");
    assert.deepEqual(s.asked, [`POST /v1/data Bearer gt_secret {"type":"DataRequest","op":"users.get","params":{"user_id":"u_1"}}`]);
    say = `{"type":"DataResponse","op":"users.get","error":{"code":"not_found","message":"","retryable":false}}`;
    await assert.rejects(askElsewhere(cfg, s.url, "users.get", {}, true), { reason: "refused", code: "not_found" });
    for (say of ["", "<html>", `{"type":"DataResponse","op":"users.list","result":{}}`, `{"type":"Ping"}`]) {
      await assert.rejects(askElsewhere(cfg, s.url, "users.get", {}, true), { reason: "network" }, say);
      await assert.rejects(askElsewhere(cfg, s.url, "users.create", {}, false), { reason: "unknown_outcome" }, say);
    }
    say = `{"type":"BroadcastResponse","op":"message.send","result":{"chat_id":"c_1","seq":4,"created_at":""}}`;
    await askElsewhere(cfg, s.url, "message.send", {}, true);
    assert.match(s.asked.at(-1)!, /^POST \/v1\/broadcast /);
    await assert.rejects(askElsewhere(cfg, s.url, "users.get", {}, true, AbortSignal.abort(new Error("enough"))), /enough/);
  } finally {
    s.end();
  }
});

void test("no token follows a redirect", async () => {
  const other = await serve((_, res) => res.end("{}"));
  const s = await serve((_, res) => void res.writeHead(307, { Location: other.url.href }).end());
  try {
    await assert.rejects(askElsewhere(cfg, s.url, "users.get", {}, true), { reason: "network" });
    assert.equal(await refusedElsewhere(`ws://${s.url.host}/v1/ws`, AbortSignal.timeout(60_000)), undefined);
    assert.deepEqual(other.asked, []);
  } finally {
    s.end();
    other.end();
  }
});

void test("a WebSocket that is refused is asked for why, without a token", async () => {
  let say: [number, string] = [421, `{"code":"misdirected","detail":"not here","url":"https://chat.example.org"}`];
  const s = await serve((_, res) => void res.writeHead(say[0], { "Content-Type": "application/problem+json" }).end(say[1]));
  const ask = () => refusedElsewhere(`ws://${s.url.host}/v1/ws`, AbortSignal.timeout(60_000));
  try {
    const err = await ask();
    assert.deepEqual([err?.reason, err?.code, err?.url], ["login", "misdirected", "https://chat.example.org"]);
    assert.deepEqual([...new Set(s.asked)], ["GET /v1/ws no token "]); // fetch itself tries a 421 twice
    const others: (typeof say)[] = [[426, ""], [421, "no"], [421, `{"code":"misdirected"}`], [200, `{"code":"misdirected","url":"https://a"}`]];
    for (say of others) assert.equal(await ask(), undefined);
  } finally {
    s.end();
  }
  assert.equal(await ask(), undefined, "nobody there");
});

void test("a client that was sent where nobody is any more asks again where to go", { timeout: 60_000 }, async () => {
  // The first place that one is sent to is gone, which the operator then mends.
  const ports = { data: 1, gone: 2, live: 3 };
  let asked = 0;
  class Line implements WebSocketLike {
    readyState = 1;
    onopen: ((ev: unknown) => void) | null = null;
    onmessage: ((ev: unknown) => void) | null = null;
    onclose: ((ev: unknown) => void) | null = null;
    onerror: ((ev: unknown) => void) | null = null;
    readonly #port: number;

    constructor(url: string) {
      this.#port = Number(new URL(url).port);
      queueMicrotask(() => {
        if (this.#port === ports.gone) return this.onclose?.({ code: 1006 });
        this.onopen?.({});
        this.onmessage?.({ data: hello });
      });
    }

    send(line: string): void {
      const { id, op } = JSON.parse(line) as { id: number; op: string };
      const type = op === "session.start" ? "SessionResponse" : "DataResponse";
      let answer: object = { result: op === "session.start" ? started : { chats: [], cursor: "k1", has_more: false } };
      if (this.#port === ports.data) {
        const url = `ws://localhost:${asked++ === 0 ? ports.gone : ports.live}`;
        answer = { error: { code: "misdirected", message: "not here", retryable: false, url } };
      }
      queueMicrotask(() => this.onmessage?.({ data: JSON.stringify({ type, id, op, ...answer }) }));
    }

    close(): void {
      this.readyState = 3;
    }
  }
  const c = await open({ ...cfg, url: `http://localhost:${ports.data}`, WebSocket: Line as unknown as WebSocketConstructor, minBackoffMs: 1, maxBackoffMs: 5 });
  try {
    await c.ready({ signal: AbortSignal.timeout(20_000) });
    assert.equal(asked, 2);
  } finally {
    await c.close();
  }
});
