import assert from "node:assert/strict";
import test from "node:test";
import type { EventOf } from "../src/index.js";
import { chatId, play, type Page, type Play } from "./tabsplay.js";

// Whatever happens to tabs, in the end one of those that can be seen has the one
// connection, all others follow it, and what was asked was done, once. Set
// GRIMA_TABS_SEEDS to "FROM-TO" for other seeds than these.

const [first, last] = (process.env["GRIMA_TABS_SEEDS"] ?? "1-100").split("-").map(Number) as [number, number];

void test(`one tab leads and all follow, whatever happens to them (seeds ${first} to ${last})`, async () => {
  for (let seed = first; seed <= last; seed++) await play(seed);
});

// What once went wrong.

function regression(name: string, work: (p: Play) => Promise<void>): void {
  void test(name, () => play(1, work));
}

/** Opens a tab and waits until it is online. */
async function online(p: Play): Promise<Page> {
  const page = p.open();
  await p.b.pass(2000);
  assert.equal(page.client?.connection.link, "online");
  return page;
}

/** What the connection of a page was told to be, from now on. */
function links(page: Page): string[] {
  const told: string[] = [];
  page.client!.on("connection", (ev) => told.push(ev.connection.link));
  return told;
}

regression("a tab whose lock was taken while it read its store does not lead", async (p) => {
  p.b.storeDelays = [1000];
  const a = p.open();
  await p.b.pass(2500); // it has the lock, and reads
  assert(a.client && !a.client.leader);
  p.freeze(a);
  const b = p.open();
  await p.b.pass(15_000);
  assert.equal(b.client?.leader, true);
  p.thaw(a);
  await p.b.pass(5000);
  assert.deepEqual([a.client.leader, b.client.leader, a.client.connection.link], [false, true, "online"]);
  p.close(b);
  await p.b.pass(5000);
  assert.equal(a.client.leader, true, "it leads when the other is gone");
  p.check();
});

regression("a tab that takes long to read its store does not steal the lock from itself", async (p) => {
  const a = p.open();
  p.b.storeDelays = [9000];
  await p.b.pass(20_000);
  p.ask(a, "me");
  await p.b.pass(20_000);
  assert.equal(a.client?.connection.link, "online");
  await p.b.pass(40_000);
  p.check();
});

regression("nor does anybody steal it from a tab that reads its store", async (p) => {
  const a = await online(p);
  const b = await online(p);
  const c = await online(p);
  p.b.storeDelays = [9000];
  p.close(a);
  for (const x of [b, c]) p.ask(x, "me");
  await p.b.pass(25_000);
  assert.equal(b.client!.leader, true, "the one that was first in the row");
  p.check();
});

regression("a page that asks for nothing takes the connection from a leader that is frozen", async (p) => {
  p.freeze(await online(p));
  const b = p.open();
  await p.b.pass(10_000);
  assert.equal(b.client?.connection.link, "online");
  p.check();
});

regression("a page that is looked at notices that its leader is frozen", async (p) => {
  const a = await online(p);
  const b = await online(p);
  p.freeze(a);
  p.hear();
  await p.b.pass(20_000);
  assert.equal(b.client!.leader, true);
  p.check();
});

regression("a hidden page steals nothing until it is seen", async (p) => {
  const a = await online(p);
  const b = await online(p);
  b.tab.show(false);
  p.freeze(a);
  p.ask(b, "me");
  await p.b.pass(60_000);
  assert.equal(b.client!.leader, false);
  b.tab.show(true);
  await p.b.pass(10_000);
  assert.equal(b.client!.leader, true);
  p.check();
});

regression("a lock that the browser gives to nobody, though somebody waits for it, is taken", async (p) => {
  const a = await online(p);
  const b = await online(p);
  p.b.lock("grima:2:t").forgets = true;
  a.tab.kill();
  const c = p.open();
  await p.b.pass(10_000);
  p.b.lock("grima:2:t").forgets = false;
  assert.deepEqual([b, c].map((x) => x.client?.connection.link), ["online", "online"]);
  p.check();
});

regression("what a leader had under way when its lock was stolen is asked of the next one", async (p) => {
  const a = await online(p);
  const b = await online(p);
  p.b.cut(true);
  await p.b.pass(100);
  const asks = [p.ask(a, "me"), p.ask(a, "send"), p.ask(b, "me")];
  p.freeze(a);
  await p.b.pass(20_000);
  assert.equal(b.client!.leader, true);
  p.thaw(a);
  await p.b.pass(100);
  p.b.up = true;
  await p.b.pass(10_000);
  assert.deepEqual(asks.map((x) => x!.outcome), ["done", "done", "done"]);
  p.check();
});

regression("what others asked of a tab that is closed is asked of the next one", async (p) => {
  const a = await online(p);
  const b = await online(p);
  p.b.cut(true);
  await p.b.pass(100);
  const asks = [p.ask(b, "me"), p.ask(b, "send")];
  await p.b.pass(100);
  p.b.storeDelays = [500]; // to be written before it is closed
  p.close(a);
  await p.b.pass(100);
  p.b.up = true;
  await p.b.pass(10_000);
  assert.deepEqual(asks.map((x) => x!.outcome), ["done", "done"]);
  p.check();
});

regression("what is asked while nobody leads was not asked before, and is done", async (p) => {
  const a = await online(p);
  const b = await online(p);
  p.b.storeDelays = [500];
  p.close(a);
  await p.b.pass(300);
  const ask = p.ask(b, "invite")!;
  await p.b.pass(10_000);
  assert.equal(ask.outcome, "done");
  p.check();
});

regression("a tab that follows one that is online already is told that everything is known", async (p) => {
  await online(p);
  const b = p.open();
  let synced = 0;
  while (!b.client) await p.b.pass(1);
  b.client.on("synced", () => synced++);
  await p.b.pass(2000);
  assert.equal(b.client.connection.link, "online");
  assert.equal(synced, 1);
});

regression("what was sent is not in the outbox again, since the next leader's store does not know", async (p) => {
  const a = await online(p);
  const b = await online(p);
  const told: string[] = [];
  b.client!.on("outbox", (ev: EventOf<"outbox">) => told.push(ev.item.progress));
  const ask = p.ask(b, "send")!;
  // The leader dies before its store has heard of it.
  while (ask.outcome === "none") await p.b.pass(1);
  a.tab.kill();
  await p.b.pass(5000);
  assert.deepEqual([told, b.client!.leader], [["pending", "sent"], true]);
  p.check();
});

regression("a draft that was sent and is sent again is known to be sent", async (p) => {
  const a = await online(p);
  const send = () => a.tab.run(() => a.client!.send({ id: "d1", chatId, content: "said 0" }));
  let places: unknown[] = [];
  void Promise.all([send(), send().then(() => send())]).then((all) => (places = all.map((it) => it.seq)));
  await p.b.pass(5000);
  assert(places.length === 2 && places[0] && places[0] === places[1], String(places));
});

regression("clocks may be set back", async (p) => {
  const a = await online(p);
  const b = await online(p);
  p.freeze(b);
  a.tab.kill();
  p.b.skew = -3_600_000;
  const c = p.open();
  await p.b.pass(10_000);
  assert.equal(c.client?.leader, true);
  p.thaw(b);
  await p.b.pass(10_000);
  p.hear();
  await p.b.pass(1000);
  p.check();
});

regression("a page that is suspended gives the connection to others, and comes back", async (p) => {
  const a = await online(p);
  const b = await online(p);
  b.tab.show(false);
  p.b.later(a.tab, 1, () => a.tab.page.dispatchEvent(new Event("pagehide")));
  const told = links(b);
  await p.b.pass(2000);
  assert.deepEqual([a.client!.leader, b.client!.leader, told.at(-1)], [false, true, "online"]);
  p.b.later(a.tab, 1, () => a.tab.page.dispatchEvent(new Event("pageshow")));
  await p.b.pass(2000);
  p.check();
});

regression("a store that cannot be read is tried again, and by others", async (p) => {
  const a = await online(p);
  const b = await online(p);
  p.b.storeFails = true;
  const told = links(b);
  p.close(a);
  await p.b.pass(12_000);
  assert.deepEqual([...new Set(told)], ["offline"]);
  assert.equal(b.client!.connection.error?.reason, "store");
  p.b.storeFails = false;
  await p.b.pass(12_000);
  p.check();
});

regression("what cannot be said to another tab is refused, and nothing else waits for it", async (p) => {
  const a = await online(p);
  const c = await online(p);
  const b = await online(p);
  const unsaid = { user_ids: [() => "u_2"] } as never;
  let why = "";
  b.tab.run(() => b.client!.call("users.get", unsaid)).catch((err: Error) => (why = err.name));
  await p.b.pass(1000);
  assert.equal(why, "DataCloneError");
  p.close(a);
  await p.b.pass(10);
  const asked = p.ask(b, "me");
  await p.b.pass(10_000);
  assert.equal(c.client!.leader, true);
  assert.equal(asked!.outcome, "done");
  p.check();
});

regression("a tab whose lock is taken while it is being closed does not wait for it again", async (p) => {
  const a = await online(p);
  const b = await online(p);
  p.b.storeDelays = [20_000];
  p.hear();
  await p.b.pass(100); // it is being kept
  p.close(a);
  await p.b.pass(9000);
  const lock = p.b.lock("grima:2:t");
  assert.equal(lock.holder?.tab, b.tab, "nobody answers while it is being closed");
  assert.deepEqual(lock.waiting.map((x) => x.tab.id), []);
  p.b.storeDelays = [0];
  await p.b.pass(60_000);
  p.check();
});

regression("a leader whose store takes nothing any more gives the connection to another, and follows it", async (p) => {
  const a = await online(p);
  const b = await online(p);
  p.break(a, "writing");
  const told = links(b);
  p.hear();
  await p.b.pass(10_000);
  assert.deepEqual([a.client!.leader, b.client!.leader], [false, true]);
  assert(!told.includes("stopped"), told.join());
  // It leads again when nobody else is there and its store works, and not before.
  p.close(b);
  await p.b.pass(60_000);
  assert.equal(a.client!.leader, false);
  assert.equal(a.client!.connection.error?.reason, "store");
  p.break(a, "nothing");
  await p.b.pass(70_000);
  assert.equal(a.client!.leader, true);
  p.check();
});

regression("what is asked of a leader whose store fails is asked of the next one", async (p) => {
  const a = await online(p);
  const b = await online(p);
  p.b.delays = [20];
  p.break(a, "writing");
  p.hear();
  const asks = [p.ask(a, "me"), p.ask(b, "me"), p.ask(b, "invite")];
  await p.b.pass(10_000);
  assert.equal(b.client!.leader, true);
  assert.deepEqual([asks[0]!.outcome, asks[1]!.outcome], ["done", "done"]);
  p.check();
});

/** Tabs, the first of which leads, and an item that was refused. */
async function refused(p: Play, n: number): Promise<[Page[], string]> {
  const pages: Page[] = [];
  while (pages.length < n) pages.push(await online(p));
  p.ask(pages[1]!, "refused");
  await p.b.pass(1000);
  const it = pages[1]!.client!.outbox()[0]!;
  assert.equal(it.progress, "failed");
  p.b.world.refuses = false;
  return [pages, it.id];
}

/** What a tab's client answers, once it does. */
function answer(page: Page, work: () => Promise<unknown>): { is: unknown } {
  const a = { is: "none" as unknown };
  void page.tab.run(work).then((r) => (a.is = r), (err: unknown) => (a.is = err));
  return a;
}

regression("a discard whose answer was lost with its leader is done already", async (p) => {
  const [[a, b], id] = (await refused(p, 2)) as [[Page, Page], string];
  p.b.delays = [20];
  const got = answer(b, () => b.client!.discard(id));
  while ((await p.kept.load()).outbox.length > 0) await p.b.pass(1);
  assert.equal(got.is, "none");
  a.tab.kill();
  await p.b.pass(5000);
  assert.deepEqual([b.client!.leader, got.is], [true, false]);
  await assert.rejects(b.tab.run(() => b.client!.discard(id)), { code: "not_found" }, "who asks for the first time hears that it is not there");
  p.check();
});

regression("a retry that its leader never heard, of what was sent meanwhile, is done already", async (p) => {
  const [[a, b, c], id] = (await refused(p, 3)) as [[Page, Page, Page], string];
  p.freeze(a);
  const got = answer(b, () => b.client!.retry(id));
  await p.b.pass(100);
  p.freeze(b);
  p.ask(c, "me");
  await p.b.pass(20_000);
  assert.equal(c.client!.leader, true);
  answer(c, () => c.client!.retry(id));
  await p.b.pass(1000);
  assert.deepEqual([c.client!.outbox(), got.is], [[], "none"]);
  p.thaw(b);
  await p.b.pass(5000);
  assert.equal(got.is, undefined);
  p.check();
});

regression("a leader that was frozen keeps nothing of what it was asked when it thaws", async (p) => {
  const a = await online(p);
  const b = await online(p);
  p.freeze(a);
  const ask = p.ask(b, "refused")!;
  await p.b.pass(20_000);
  assert.deepEqual([b.client!.leader, ask.outcome], [true, "done"]);
  const it = b.client!.outbox()[0]!;
  void b.tab.run(() => b.client!.discard(it.id));
  await p.b.pass(1000);
  p.b.world.refuses = false;
  p.thaw(a); // it has yet to hear of all that
  await p.b.pass(5000);
  assert.deepEqual((await p.kept.load()).outbox, []);
  p.check();
});
