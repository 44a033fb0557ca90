import assert from "node:assert/strict";
import { GrimaError } from "../src/errors.js";
import type { Message, MessagesListParams, MessagesListResult, Participant } from "../src/protocol.gen.js";
import { hasPosition } from "../src/ranges.js";
import type { Session, SessionConfig } from "../src/session.js";
import { Timeline } from "../src/timeline.js";
import type { Chat, Event, Item, State } from "../src/types.js";
import { me, Random, World, type Room, type Wire } from "./world.js";

// I7, I9 and I17 of docs/protocol.md#invariants for the session: whatever happened
// in the world, wherever connections were cut, whatever came twice or crossed, and
// however slowly the application read, it is told every change of every chat once
// and in order, and ends up with what a full read gives. What it sends is there
// once. It is the Go SDK's TestResume.

type MakeSession = new (cfg: SessionConfig, state?: State) => Session;

export class Play {
  readonly r: Random;
  readonly make: MakeSession;
  readonly cfg: SessionConfig;
  world: World;
  backup: World;
  epochs = 0;
  now = 1e12;
  s!: Session;
  wire: Wire | undefined;
  up: string[] = []; // what the client wrote and the server has yet to hear
  app: Follower;
  drafts = new Map<string, { chatId: string; content: string }>();
  settled = new Map<string, Item>();
  said = 0;
  pages = new Map<number, { params: MessagesListParams; joined: number }>();

  constructor(seed: number, make: MakeSession, makeTimeline: new () => Timeline = Timeline) {
    this.app = new Follower(makeTimeline);
    this.r = new Random(seed);
    this.make = make;
    this.cfg = {
      login: { mechanism: "TOKEN", token: "gt_x" }, buffer: 256, timeline: 2, jitter: (ms) => ms / 2,
      lazy: this.r.int(0, 1) === 1, maxCatchUp: this.r.pick([0, 0, 8]),
    };
    this.world = new World(this.r.pick([0, 1, 2, 5]));
    this.world.create("c_1", true);
    this.world.create("c_2", false);
    this.backup = this.world.clone();
    this.open();
  }

  open(st?: State): void {
    this.s = new this.make(this.cfg, st);
    this.pages.clear();
  }

  run(): void {
    for (let n = this.r.int(1, 120); n > 0; n--) this.step();
    this.settle();
    this.check();
  }

  /** Does one random thing. */
  step(): void {
    const { r, s } = this;
    const n = r.int(0, 99);
    if (n < 34) this.happen();
    else if (n < 50) this.deliver(r.int(1, 8));
    else if (n < 62) this.take(r.int(1, 40));
    else if (n < 68) {
      if (!this.wire) this.connect();
    } else if (n < 72) this.cut();
    else if (n < 76) {
      const d = { id: `m${++this.said}`, chatId: this.chat().row.chat_id, content: r.pick(["hey", "busy"]) + this.said };
      const it = s.draft(this.now, d);
      this.app.outbox.set(it.id, it);
      this.drafts.set(d.id, d);
      s.enqueue(this.now, it);
    } else if (n < 80) {
      this.now += r.int(1, 400) * 1000;
      try {
        if (this.wire) s.tick(this.now);
      } catch (err) {
        this.lost(err as GrimaError);
      }
    } else if (n < 83) this.swap();
    else if (n < 85) this.double();
    else if (n < 88) this.page();
    else if (n < 91) {
      const c = s.chat(this.chat().row.chat_id);
      if (c && c.last_seq > 0) s.markRead(this.now, c.chat_id, r.int(1, c.last_seq));
    } else if (n < 93) s.focus(this.now, [this.chat().row.chat_id]);
    else if (n < 95) {
      // Another page goes on from what was kept; this one died in the middle of it.
      if (r.int(0, 1)) this.take(r.int(0, 6));
      this.cut();
      this.open(this.app.state());
    } else if (n < 96) this.backup = this.world.clone();
    else if (n < 98) {
      this.cut();
      const b = this.backup.clone();
      b.epoch = `b${++this.epochs}`;
      for (const id of this.drafts.keys()) if (!b.sent.has(id)) this.settled.delete(id); // it may be sent, and gone
      this.world = b;
    }
  }

  chat(): Room {
    return this.r.pick([...this.world.chats.values()]);
  }

  /** Lets something happen in the world. */
  happen(): void {
    const w = this.world;
    const room = this.chat();
    const n = this.r.int(0, 19);
    if (n < 8) w.post(room, "u_2", `hi ${w.stamp}`);
    else if (n < 11) {
      if (room.msgs.length > 0) w.edit(room, this.r.int(0, room.msgs.length - 1), this.r.pick(["", "other", "words"]));
    } else if (n < 12) w.add(room, "u_3");
    else if (n < 13) w.remove(room, "u_3");
    else if (n < 15) w.add(room, me);
    else if (n < 16) w.remove(room, me);
    else if (n < 17) w.rename(room, `title ${w.stamp}`);
    else if (n < 18) this.r.int(0, 1) ? w.other(room, "gap") : w.quiet(room);
    else if (n < 19) w.other(room, "message.starred");
    else if (w.chats.size < 6) w.create(`c_${w.chats.size + 1}`, this.r.int(0, 1) === 1);
  }

  connect(): void {
    this.wire = this.world.connect();
    this.s.connected(this.now);
  }

  /** Ends the connection: of what was on its way nothing arrives; of the client's lines, perhaps some. */
  cut(): void {
    if (!this.wire) return;
    this.up.push(...this.s.output());
    this.hear(this.r.int(0, this.up.length));
    this.lost(new GrimaError({ reason: "network", message: "cut" }));
  }

  lost(err: GrimaError): void {
    this.world.conn = this.wire = undefined;
    this.up = [];
    this.s.lost(this.now, err);
    assert.equal(this.s.stopped, undefined, "the session stopped");
    this.pages.clear();
    this.s.answers();
  }

  hear(n: number): void {
    for (const line of this.up.splice(0, n)) this.world.hear(line);
  }

  /** Lets the server hear everything, and the client n lines. */
  deliver(n: number): void {
    for (; n > 0 && this.wire; n--) {
      this.up.push(...this.s.output());
      this.hear(this.up.length);
      const line = this.wire.lines.shift();
      if (line === undefined) return;
      this.s.line(this.now, line);
      for (const a of this.s.answers()) {
        const asked = this.pages.get(a.ask);
        assert(asked, "an answer to what was not asked");
        this.pages.delete(a.ask);
        if (!a.error) this.app.page(asked.params, a.result as MessagesListResult, asked.joined);
      }
    }
  }

  /** Lets the application take n events. */
  take(n: number): void {
    for (const ev of this.s.take(n)) {
      if (ev.kind === "outbox" && ev.item.progress !== "pending") this.settled.set(ev.item.id, ev.item);
      this.app.apply(ev);
    }
    if (this.wire) this.s.tick(this.now);
  }

  /** Lets an answer and what is beside it arrive the other way round. */
  swap(): void {
    const lines = this.wire?.lines ?? [];
    if (!this.wire?.subscribed || lines.length < 2) return;
    const i = this.r.int(0, lines.length - 2);
    const both = lines[i]! + lines[i + 1]!;
    if (!both.includes(`"op":`) || both.includes("session.start") || both.includes("Hello")) return;
    [lines[i], lines[i + 1]] = [lines[i + 1]!, lines[i]!];
  }

  /** Lets an event arrive twice. */
  double(): void {
    const lines = this.wire?.lines ?? [];
    // A coming or going of one's own is no change of a row that one may be told
    // late: the chat is another one then.
    const i = lines.findIndex((l) => l.includes(`"seq":`) && !l.includes(`"op":`) && !l.includes("participant."));
    if (i >= 0) lines.splice(this.r.int(i, lines.length - 1) + 1, 0, lines[i]!);
  }

  /** Asks for a page of history. */
  page(): void {
    const id = this.chat().row.chat_id;
    const c = this.s.chat(id);
    if (!c || !this.s.ready || this.app.chats.get(id)?.st.joined_seq !== c.joined_seq) return;
    const params: MessagesListParams = { chat_id: id, limit: this.r.int(1, 4) };
    const seq = this.r.int(1, Math.max(c.last_seq, 1));
    const anchor = this.r.pick(["before", "after", "around", ""] as const);
    if (anchor !== "") params[anchor] = seq;
    this.pages.set(this.s.ask(this.now, "messages.list", params), { params, joined: c.joined_seq ?? 0 });
  }

  /** Lets everything come to rest. */
  settle(): void {
    const { s } = this;
    if (!this.wire) this.connect();
    for (let round = 0; ; round++) {
      assert(round < 2000, "it does not come to rest");
      this.deliver(1000);
      this.take(1000);
      const all = s.list().map((c) => c.chat_id).sort();
      if (this.cfg.lazy && all.join() !== s.focused?.join()) {
        s.focus(this.now, all); // nothing is too lazy now
        s.tick(this.now);
      }
      this.up.push(...s.output());
      if (this.up.length > 0 || this.wire!.lines.length > 0 || s.waiting > 0) continue;
      const failed = s.outbox().filter((it) => it.progress === "failed").length;
      if (s.asks.size === 0 && s.outbox().length === failed && s.connection.link === "online" && s.work.length === 0) return;
      this.now += 10_000;
      s.progress(this.now);
      s.tick(this.now);
    }
  }

  /** Compares what the application has with a full read. */
  check(): void {
    for (const [id, r] of this.world.chats) {
      const c = this.app.chats.get(id);
      assert.equal(c !== undefined, r.in, `${id}: is the user in it?`);
      if (!c) continue;
      assert.deepEqual([c.pos, c.st.last_seq], [r.last, r.last], `${id}: where it is, and is told to be`);
      const { messages: _, pos: __, unseen: ____, uncertain: _____, mark: ______, ...told } = c.st;
      const { messages: ___, ...want } = this.world.state(r, 1);
      assert.deepEqual(told, want, id);
      for (const m of r.msgs) {
        const got = c.rows.get(m.seq);
        if (m.updated_seq > c.base) assert(got, `${id}: nothing was told of ${m.seq}`);
        if (got) assert.deepEqual(got, m, id);
      }
      for (const m of r.members.values()) if (m.updated_seq > c.base) assert.deepEqual(c.people.get(m.user_id), m, id);
      c.timeline.tidy();
      const held = c.timeline.held.flatMap((g) => c.timeline.messages(g.from));
      assert.deepEqual(held, r.msgs.filter((m) => hasPosition(c.timeline.held, m.seq)), `${id}: the timeline`);
    }
    for (const id of this.app.chats.keys()) assert(this.world.chats.has(id), `${id} is there, and is not`);
    // Every draft is there once, or failed; or the world forgot it.
    for (const [id, d] of this.drafts) {
      const n = [...this.world.chats.values()].flatMap((r) => r.msgs).filter((m) => m.sender_id === me && m.content === d.content && !m.edited_at).length;
      assert(n <= 1, `${d.content} is there ${n} times`);
      const it = this.settled.get(id);
      const was = this.world.sent.get(id);
      if (it?.progress === "sent" && was) assert.equal(it.seq, was.seq);
    }
    for (const it of this.app.outbox.values()) assert.equal(it.progress, "failed", "the outbox has kept a message");
  }
}

interface Followed {
  st: Chat;
  base: number; // everything after it was told
  pos: number;
  rows: Map<number, Message>;
  people: Map<string, Participant>;
  timeline: Timeline;
  told: Set<number>; // messages that were told as created
}

/** An application, and a store: it believes what it is told. */
class Follower {
  readonly #makeTimeline: new () => Timeline;

  constructor(makeTimeline: new () => Timeline) {
    this.#makeTimeline = makeTimeline;
  }

  chats = new Map<string, Followed>();
  outbox = new Map<string, Item>();
  st: Omit<State, "chats" | "outbox"> = { userId: "", epoch: "", cursor: "", complete: false };

  state(): State {
    return { ...this.st, chats: [...this.chats.values()].map((c) => c.st), outbox: [...this.outbox.values()] };
  }

  page(asked: MessagesListParams, page: MessagesListResult, joined: number): void {
    const c = this.chats.get(asked.chat_id);
    if (!c || c.st.joined_seq !== joined) return;
    try {
      c.timeline.applyPage(asked, page);
    } catch (err) {
      if (!(err instanceof Error && (err as GrimaError).reason === "stale_page")) throw err;
    }
  }

  apply(ev: Event): void {
    switch (ev.kind) {
      case "reset":
        this.chats.clear();
        this.st = { userId: me, epoch: ev.epoch, cursor: "", complete: false };
        return;
      case "cursor":
        this.st = { userId: ev.userId, epoch: ev.epoch, cursor: ev.cursor, complete: ev.complete };
        return;
      case "outbox":
        assert(this.outbox.has(ev.item.id) || ev.item.progress === "sent", "of an item that nobody queued");
        if (ev.item.progress === "sent") this.outbox.delete(ev.item.id);
        else this.outbox.set(ev.item.id, ev.item);
        return;
    }
    if (!("chatId" in ev) || ev.kind === "draft") return;
    let c = this.chats.get(ev.chatId);
    c?.timeline.apply(ev);
    if (ev.kind === "chat.added") {
      assert(!c, `${ev.chatId} is added twice`);
      const pos = ev.state.pos;
      c = { st: ev.state, base: pos, pos, rows: new Map(), people: new Map(), timeline: new this.#makeTimeline(), told: new Set() };
      c.timeline.apply(ev);
      this.chats.set(ev.chatId, c);
    }
    assert(c, `${ev.kind} of a chat that is not there`);
    if (ev.kind === "chat.removed") {
      this.chats.delete(ev.chatId);
      return;
    }
    c.st = ev.state;
    if (!("prevSeq" in ev)) return;
    assert(ev.prevSeq === c.pos && ev.seq > c.pos && ev.state.pos === ev.seq, `${ev.prevSeq} to ${ev.seq} does not follow ${c.pos}`);
    c.pos = ev.seq;
    if (ev.kind === "skipped") {
      c.base = ev.seq;
      c.rows.clear();
      c.people.clear();
      return;
    }
    if ("participant" in ev) c.people.set(ev.participant.user_id, ev.participant);
    if (!("message" in ev)) return;
    const m = ev.message;
    const was = c.rows.get(m.seq);
    assert(!was || was.updated_seq < m.updated_seq, `${m.seq} is told after ${was?.updated_seq}`);
    c.rows.set(m.seq, m);
    if (ev.kind === "message.created") assert(!c.told.has(m.seq) && m.seq > c.base, `${m.seq} is told as new again`);
    if (ev.kind === "message.updated") assert(c.told.has(m.seq) || m.seq <= c.base, `${m.seq} is told as changed, and was never told`);
    c.told.add(m.seq);
  }
}
