import assert from "node:assert/strict";
import test from "node:test";
import type { Participant, ParticipantsListResult } from "../src/protocol.gen.js";
import { Roster } from "../src/roster.js";

const row = (id: string, updated: number, more: Partial<Participant> = {}): Participant => ({ user_id: id, role: "member", joined_seq: 1, updated_seq: updated, ...more });
const listed = (id: string, updated: number, more: Partial<Participant> = {}): Participant => row(id, updated, { username: id, name: id, ...more });

/** A list whose pages come when the test says so. */
function paged() {
  const asked: { cursor: string | undefined; answer: (r: ParticipantsListResult) => void; refuse: (err: unknown) => void }[] = [];
  const page = (cursor: string | undefined): Promise<ParticipantsListResult> => new Promise((answer, refuse) => asked.push({ cursor, answer, refuse }));
  return { asked, page };
}
const last = (...participants: Participant[]): ParticipantsListResult => ({ participants, has_more: false });
const first = (...participants: Participant[]): ParticipantsListResult => ({ participants, has_more: true, cursor: "more" });
const turn = (): Promise<void> => new Promise((done) => setImmediate(done));
const ids = (r: Roster): string[] => [...r.members.keys()].sort();

void test("who comes and goes while the list is read is where the events say", async () => {
  const { asked, page } = paged();
  const r = new Roster();
  const loaded = r.load(page);
  r.apply(row("early", 11)); // after the snapshot of the page that is on its way
  r.apply(row("gone", 12, { left_seq: 12 }));
  asked[0]!.answer(first(listed("ana", 1), listed("gone", 2), listed("left", 3)));
  await turn();
  assert.deepEqual([ids(r), r.complete], [["ana", "early", "left"], false]);
  assert.equal(asked[1]!.cursor, "more");
  r.apply(row("left", 13, { left_seq: 13 }));
  r.apply(row("ana", 14, { role: "owner" }));
  r.apply(row("late", 15));
  asked[1]!.answer(last(listed("eve", 4), listed("ana", 1)));
  assert.equal(await loaded, true);
  assert.deepEqual([ids(r), r.complete], [["ana", "early", "eve", "late"], true]);
  assert.deepEqual(r.members.get("ana"), { ...listed("ana", 14), role: "owner" });
});

void test("a page is not older than what it says, nor newer than what was told", async () => {
  const { asked, page } = paged();
  const r = new Roster();
  const loaded = r.load(page);
  r.apply(row("bob", 20, { role: "admin" }));
  r.apply(row("bob", 19)); // an event that comes twice, late
  r.apply(row("eve", 20));
  asked[0]!.answer(last(listed("ana", 1, { read_seq: 7 }), listed("bob", 2, { read_seq: 9 }), listed("eve", 21, { role: "owner" })));
  await loaded;
  assert.deepEqual([r.members.get("bob")!.role, r.members.get("eve")!.role], ["admin", "owner"]);
  r.read("ana", 5);
  assert.equal(r.members.get("ana")!.read_seq, 7);
  r.read("ana", 9);
  r.apply(row("ana", 22, { role: "admin" })); // events have neither name nor mark
  assert.deepEqual(r.members.get("ana"), { ...listed("ana", 22, { read_seq: 9 }), role: "admin" });
  r.apply(row("ana", 30, { joined_seq: 30 })); // out and in again: another membership
  assert.equal(r.members.get("ana")!.read_seq, undefined);
});

void test("who left in a time away goes with the next list, and an overtaken one changes nothing", async () => {
  const { asked, page } = paged();
  const r = new Roster();
  const one = r.load(page);
  asked[0]!.answer(last(listed("ana", 1), listed("bob", 2)));
  await one;
  r.apply(row("eve", 10));
  const slow = r.load(page);
  const quick = r.load(page);
  asked[2]!.answer(last(listed("ana", 1), listed("eve", 10)));
  assert.equal(await quick, true);
  asked[1]!.answer(last(listed("ana", 1), listed("bob", 2)));
  assert.equal(await slow, false);
  assert.deepEqual(ids(r), ["ana", "eve"]);
  let stop = false;
  const stopped = r.load(page, () => stop);
  stop = true;
  asked[3]!.answer(last());
  assert.equal(await stopped, false);
  const failed = r.load(page);
  asked[4]!.refuse(new Error("no answer"));
  await assert.rejects(failed, /no answer/);
  assert.deepEqual([ids(r), r.complete], [["ana", "eve"], true]);
});
