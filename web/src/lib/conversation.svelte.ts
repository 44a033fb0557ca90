// One open chat: a slice of the SDK's window that the page draws, what waits below
// it, and what is being written. The slice moves along the window; it never has
// more than some hundred rows, however much is held.
import { SvelteMap } from "svelte/reactivity";
import { Roster, type ChatWindow, type Client, type Item, type Participant } from "@grima/sdk";
import { app, type Chat } from "./app.svelte.ts";
import { type Candidate, candidates } from "./candidates.ts";
import { sendable } from "./format.ts";
import { mentionsIn } from "./mentions.ts";
import { Failure, problem } from "./problem.ts";
import { Quotes } from "./quotes.svelte.ts";
import { maxMarked } from "./reading.ts";
import { itemMsg, layout, type Msg, type Row, rowMsg } from "./rows.ts";
import { t } from "./strings.ts";

const first = 60; // rows to begin with
const step = 60; // rows more at a time
const most = 260; // rows drawn
const burst = 16; // rows that come, and that go, in one frame, while messages come
const page = 100; // messages asked for at a time

/** Edits that are under way, whatever was opened or begun since. */
const saving = new WeakSet<Msg>();

/** What is being written, and is more than a draft. */
export interface Begun {
  editing: Msg | null;
  replyTo: number;
  text: string;
}

export class Conversation {
  rows = $state.raw<Row[]>([]);
  atStart = $state(false);
  atEnd = $state(false);
  loading = $state<"" | "all" | "before" | "after">("all");
  error = $state("");
  /** Where to look once it is drawn; null: where one looks. */
  target = $state.raw<null | "end" | "start" | { seq: number; flash: boolean }>(null);
  /** There is something unread that was not on the screen yet. */
  firstUnread = $state(false);
  otherRead = $state(0);
  memberCount = $state(0);

  text = $state("");
  replyTo = $state(0);
  editing = $state.raw<Msg | null>(null);

  readonly members = new SvelteMap<string, Participant>();
  readonly #roster = new Roster(this.members);

  /** The list is at its end and stays there. */
  stuck = true;
  /** How many rows stay when it does: as many as the list looks ahead, and more. */
  keep = 72;

  /** Rows above the last ones are still coming, a few in each frame. */
  filling = false;

  readonly #client: Client;
  readonly chatId: string;
  readonly #window: ChatWindow;
  readonly #end: () => void;
  #last: Chat | undefined;
  #lo = 0; // the seq of the first row
  #hi = Infinity; // the seq of the last; Infinity: whatever comes
  #drawn = 0; // the seq of the last message that is drawn
  #newAfter = -1; // the seq behind which the new line stands; -1: none
  #before = new Map<string, Row>();
  #keys = new Map<number, string>(); // of rows that were drawn before they had a seq
  #sent = new Map<string, Item>(); // sent, but not in the window yet
  readonly #quotes: Quotes;
  #closed = false;
  #again: () => Promise<unknown> = async () => undefined;
  #loads = 0; // how many were begun: the last one is what is waited for
  #membersLoaded: Promise<void> | undefined;
  #marked = 0;
  #marking: ReturnType<typeof setTimeout> | undefined;

  constructor(client: Client, chatId: string, seq: number) {
    this.#client = client;
    this.chatId = chatId;
    this.#quotes = new Quotes(client, chatId);
    this.text = client.draft(chatId);
    const begun = app.begun.get(chatId);
    if (begun) {
      app.begun.delete(chatId);
      this.editing = begun.editing;
      this.replyTo = begun.replyTo;
      if (begun.editing) this.text = begun.text;
    }
    this.#window = client.window(chatId);
    this.#end = this.#window.onChange(() => app.draw());
    const chat = client.chat(chatId);
    if (chat && (chat.unread > 0 || chat.uncertain)) {
      this.#newAfter = chat.read_seq;
      this.firstUnread = chat.unread > 0;
    }
    if (seq) void this.jumpTo(seq, true);
    else void this.#begin();
    if (chat) void this.loadMembers().catch(() => undefined); // asked again where they are shown
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.text && !this.editing) this.#keepDraft(this.text);
    if (this.editing || this.replyTo) app.begun.set(this.chatId, { editing: this.editing, replyTo: this.replyTo, text: this.text });
    this.#stopTyping();
    this.#end();
    this.#window.close();
    if (this.#marking) this.#mark(); // what was seen was seen
  }

  /** The chat as it is now, or as it was last. */
  get chat(): Chat {
    const now = app.chat(this.chatId) ?? (this.#client.chat(this.chatId) as Chat | undefined);
    if (now) this.#last = now;
    return now ?? this.#last ?? ({ chat_id: this.chatId, kind: "group", title: "", unread: 0, mentions: 0, last_seq: 0, read_seq: 0 } as unknown as Chat);
  }

  /** Whether one is in the chat. */
  get there(): boolean {
    return app.chat(this.chatId) !== undefined;
  }

  #in = false;
  #left = false;
  /** Whether one is in the chat again after one was not: then it is opened anew, as nothing is held of it. */
  returned(): boolean {
    const there = this.there;
    if (there) this.#in = true;
    else if (this.#in && app.synced) this.#left = true;
    return there && this.#left;
  }

  /** The seq of the last message that is drawn. */
  get lastSeq(): number {
    return this.#drawn;
  }

  get unreadBelow(): number {
    return this.chat.unread;
  }

  // --- What is drawn

  /** Lays out what there is; called once per frame when something changed. */
  update(): void {
    if (this.#closed) return;
    const all = this.#window.messages;
    let i = lowerBound(all, this.#lo);
    let j = this.#hi === Infinity ? all.length : lowerBound(all, this.#hi + 1);
    if (this.#hi === Infinity && this.stuck) {
      // Where much is said a few come and a few go in each frame, so that none
      // takes long. Who is far behind sees the last ones, and then what is above.
      const was = lowerBound(all, this.#drawn + 1);
      let from = i;
      if (was > i && j - was > burst) {
        if (j - was <= 2 * first) j = was + burst;
        else {
          from = j - 2 * burst;
          this.filling = true;
        }
        app.draw();
      } else if (this.filling) {
        from = Math.max(0, j - this.keep, from - burst);
        if (from < i) app.draw();
        else this.filling = false;
      }
      // What goes moves all that stays, which is then drawn anew: so not in each frame.
      if (j - from >= this.keep + 2 * burst) from = Math.min(j - this.keep, i + 2 * burst);
      if (from !== i) this.#lo = all[(i = from)]!.seq;
    } else if (this.#hi === Infinity && j - i > most) {
      j = i + most;
      this.#hi = all[j - 1]!.seq;
    }
    this.#drawn = all[j - 1]?.seq ?? 0;
    const list: Msg[] = [];
    for (let k = i; k < j; k++) {
      const m = all[k]!;
      list.push(rowMsg(m, this.#keys.get(m.seq)));
    }
    const atEnd = this.#window.atEnd && (j === all.length || this.#hi === Infinity);
    if (atEnd) {
      const self = app.self?.user_id ?? "";
      for (const [id, item] of this.#sent) {
        if (item.seq! <= this.#drawn && this.#window.timeline.message(item.seq!)) this.#sent.delete(id);
        else list.push(itemMsg(item, self));
      }
      for (const item of this.#client.outbox(this.chatId)) if (!this.#sent.has(item.id)) list.push(itemMsg(item, self));
    }
    const rows = layout(list, this.#newAfter, app.self?.user_id ?? "", this.#before);
    if (rows.length !== this.rows.length || rows.some((r, k) => r !== this.rows[k])) {
      this.#before = new Map(rows.map((r) => [r.key, r]));
      this.rows = rows;
    }
    this.atStart = this.#window.atStart && i === 0;
    this.atEnd = atEnd;
  }

  // Work is told whether another load overtook it, which then has the say of where to look.
  async #load(what: "all" | "before" | "after", work: (over: () => boolean) => Promise<boolean>): Promise<boolean> {
    const mine = ++this.#loads;
    const over = () => this.#closed || mine !== this.#loads;
    this.#again = () => this.#load(what, work);
    this.loading = what;
    this.error = "";
    let ok = false;
    try {
      // The SDK may jump by itself meanwhile, and then ours comes to nothing.
      for (let i = 0; i < 3 && !ok && !over() && (i === 0 || app.online); i++) ok = await work(over);
      if (!ok && !over()) this.error = app.online ? t.chat.loadFailed : t.chat.needConnection;
    } catch (e) {
      if (!over()) this.error = problem(e);
    }
    if (over()) return false;
    this.update();
    this.loading = "";
    return ok;
  }

  retry(): Promise<unknown> {
    return this.#again();
  }

  /** The connection is back. */
  back(): void {
    if (this.error) void this.#again();
    this.#membersLoaded = undefined;
    void this.loadMembers().catch(() => undefined); // as in the constructor
  }

  // The newest messages; or the first unread ones, with the line above them.
  #begin(): Promise<boolean> {
    return this.#load("all", async (over) => {
      const w = this.#window;
      if (!(await w.jump()) || over()) return false;
      if (this.#newAfter < 0) return this.#showEnd();
      const head = w.messages[0];
      if (head && head.seq > this.#newAfter && !w.atStart && !(await w.jump(this.#newAfter + 1))) {
        await w.jump();
        return !over() && this.#showEnd();
      }
      if (over()) return false;
      const unread = w.messages.find((m) => m.seq > this.#newAfter && m.sender_id !== app.self?.user_id);
      if (!unread) return this.#showEnd();
      return this.#show(unread.seq, false);
    });
  }

  #showEnd(): boolean {
    const all = this.#window.messages;
    this.#lo = all[Math.max(0, all.length - first)]?.seq ?? 0;
    this.#hi = Infinity;
    this.stuck = true;
    this.filling = false;
    this.target = "end";
    return true;
  }

  #show(seq: number, flash: boolean): boolean {
    const all = this.#window.messages;
    const at = lowerBound(all, seq);
    this.#lo = all[Math.max(0, at - first / 2)]?.seq ?? 0;
    const end = at + first;
    this.#hi = end < all.length || !this.#window.atEnd ? (all[Math.min(end, all.length - 1)]?.seq ?? Infinity) : Infinity;
    this.stuck = false;
    this.target = { seq, flash };
    return true;
  }

  /** More rows at one end; the other is cut. */
  async more(where: "before" | "after"): Promise<void> {
    if (this.loading || this.error) return;
    const w = this.#window;
    if (where === "before") {
      let i = lowerBound(w.messages, this.#lo);
      if (i < step && !w.atStart) {
        const ok = await this.#load("before", async () => {
          const ok = await w.older(page);
          i = lowerBound(w.messages, this.#lo);
          return ok || w.atStart;
        });
        if (!ok || this.#closed) return;
      }
      const all = w.messages;
      i = Math.max(0, i - step);
      this.#lo = i === 0 && w.atStart ? 0 : (all[i]?.seq ?? 0);
      if (this.#hi === Infinity || lowerBound(all, this.#hi) - i > most) {
        const j = i + most;
        if (j < all.length) this.#hi = all[j]!.seq;
      }
    } else {
      let j = this.#hi === Infinity ? w.messages.length : lowerBound(w.messages, this.#hi + 1);
      if (w.messages.length - j < step && !w.atEnd) {
        const ok = await this.#load("after", async () => {
          const ok = await w.newer(page);
          j = this.#hi === Infinity ? w.messages.length : lowerBound(w.messages, this.#hi + 1);
          return ok || w.atEnd;
        });
        if (!ok || this.#closed) return;
      }
      const all = w.messages;
      j = Math.min(all.length, j + step);
      this.#hi = j === all.length && w.atEnd ? Infinity : (all[j - 1]?.seq ?? Infinity);
      const i = lowerBound(all, this.#lo);
      if (j - i > most) this.#lo = all[j - most]!.seq;
    }
    this.update();
  }

  async jumpTo(seq: number, flash: boolean): Promise<void> {
    await this.#load("all", async (over) => (await this.#window.jump(seq)) && !over() && this.#show(seq, flash));
  }

  async jumpEnd(): Promise<void> {
    await this.#load("all", async (over) => (await this.#window.jump()) && !over() && this.#showEnd());
  }

  async jumpStart(): Promise<void> {
    await this.#load("all", async (over) => {
      if (!(await this.#window.jump(1)) || over()) return false;
      this.#show(this.#window.messages[0]?.seq ?? 0, false);
      this.#lo = 0;
      this.target = "start";
      return true;
    });
  }

  async jumpUnread(): Promise<void> {
    this.firstUnread = false;
    if (this.#newAfter < 0) return;
    await this.#load("all", async (over) => {
      if (!(await this.#window.jump(this.#newAfter + 1)) || over()) return false;
      const unread = this.#window.messages.find((m) => m.seq > this.#newAfter);
      return unread ? this.#show(unread.seq, false) : this.#showEnd();
    });
  }

  /** The first message of a time or later, which is what it gives a way to. */
  async atDate(date: Date): Promise<() => void> {
    const found = await app.call("messages.list", { chat_id: this.chatId, at: date.toISOString(), limit: 1 });
    return () => void (found.at_seq ? this.jumpTo(found.at_seq, true) : this.jumpEnd());
  }

  // --- Marks

  /** Everything up to seq was on the screen. */
  seen(seq: number): void {
    const chat = this.#client.chat(this.chatId) ?? this.chat; // what is drawn may be older
    if (seq > this.#newAfter) this.firstUnread = false;
    if (seq <= chat.read_seq || seq <= this.#marked || (chat.unread === 0 && !chat.uncertain)) return;
    this.#marked = seq;
    this.#marking ??= setTimeout(() => this.#mark(), 150);
  }

  #mark(): void {
    clearTimeout(this.#marking);
    this.#marking = undefined;
    app.client?.markRead(this.chatId, this.#marked);
  }

  readBy(chatId: string, userId: string, seq: number): void {
    if (chatId !== this.chatId) return;
    this.#roster.read(userId, seq);
    if (this.chat.kind === "private" && userId !== app.self?.user_id) this.otherRead = Math.max(this.otherRead, seq);
  }

  /** Whether it is told here who has read what, which it is in private chats in another way. */
  get marked(): boolean {
    return this.chat.kind !== "private" && this.memberCount > 1 && this.memberCount <= maxMarked;
  }

  /** How far the others have read. Who came in has read up to there. */
  readonly reads = $derived.by(() => {
    const all = new Map<string, number>();
    for (const [id, p] of this.members) if (id !== app.self?.user_id) all.set(id, Math.max(p.read_seq ?? 0, p.joined_seq));
    return all;
  });

  /** Who has read a message, its sender and oneself left out. */
  readersOf(msg: Msg): string[] {
    const spoke = new Map<string, number>();
    for (const r of this.rows) if (r.msg.seq) spoke.set(r.msg.senderId, r.msg.seq);
    const ids: string[] = [];
    for (const [id, seq] of this.reads) if (id !== msg.senderId && Math.max(seq, spoke.get(id) ?? 0) >= msg.seq) ids.push(id);
    return ids;
  }

  // --- Who is in

  loadMembers(anew = false): Promise<void> {
    if (anew) this.#membersLoaded = undefined;
    this.#membersLoaded ??= this.#loadMembers().catch((e: unknown) => {
      this.#membersLoaded = undefined;
      throw e;
    });
    return this.#membersLoaded;
  }

  async #loadMembers(): Promise<void> {
    const whole = await this.#roster.load(
      async (cursor) => {
        const got = await app.call("participants.list", { chat_id: this.chatId, limit: 200, ...(cursor ? { cursor } : {}) });
        app.learn(got.participants.filter((p) => p.username).map((p) => ({ ...p, username: p.username ?? "", name: p.name ?? "" })).map(person));
        return got;
      },
      () => this.#closed,
    );
    if (!whole) return;
    if (this.chat.kind === "private") {
      for (const p of this.members.values()) if (p.user_id !== app.self?.user_id) this.otherRead = Math.max(this.otherRead, p.read_seq ?? 0);
    }
    this.memberCount = this.members.size;
    app.watchAgain();
  }

  participant(chatId: string, p: Participant): void {
    if (chatId !== this.chatId) return;
    this.#roster.apply(p);
    // How many they are is not known of a part of the list.
    if (this.#roster.complete) this.memberCount = this.members.size;
    // Of a chat that was not there yet when it was opened nobody asked.
    else if (!this.#membersLoaded) void this.loadMembers().catch(() => undefined); // as in the constructor
  }

  /** Whom a name that is being written may mean. */
  candidates(prefix: string): Promise<Candidate[]> {
    return candidates(this.#client, [...this.members.keys()], prefix, this.chat.kind !== "private");
  }

  // --- Writing

  #typing: ReturnType<typeof setTimeout> | undefined;

  /** What stands in the field now. */
  write(text: string): void {
    this.text = text;
    if (this.editing) return;
    this.#keepDraft(text);
    if (!text) return this.#stopTyping();
    this.#client.typing(this.chatId);
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#stopTyping(), 6000);
  }

  #keepDraft(text: string): void {
    this.#client.setDraft(this.chatId, text).catch((e: unknown) => app.unkept(e));
  }

  #stopTyping(): void {
    if (this.#typing === undefined) return;
    clearTimeout(this.#typing);
    this.#typing = undefined;
    this.#client.typing(this.chatId, true);
  }

  /** A draft was written, perhaps in another tab. */
  drafted(chatId: string, text: string): void {
    if (chatId === this.chatId && !this.editing && !app.looking) this.text = text;
  }

  reply(msg: Msg): void {
    if (this.editing) this.cancel();
    this.replyTo = msg.seq;
  }

  edit(msg: Msg): void {
    this.replyTo = 0;
    this.editing = msg;
    this.text = msg.content;
  }

  /** Begins to edit one's last message, if it is in sight. One that is yet to be sent cannot be edited, and the one before it is not meant. */
  editLast(): boolean {
    const row = this.rows.findLast((r) => !r.msg.deleted && r.msg.senderId === app.self?.user_id);
    if (row?.msg.seq) this.edit(row.msg);
    else if (row) app.toast(t.compose.notSentYet);
    return !!row;
  }

  cancel(): void {
    if (this.editing) {
      this.editing = null;
      this.text = this.#client.draft(this.chatId);
    }
    this.replyTo = 0;
  }

  /** Sends what is written, or saves the edit. False: there was nothing. */
  async submit(): Promise<boolean> {
    const content = sendable(this.text);
    if (!content) return false;
    const byName = new Map<string, string>();
    for (const id of this.members.keys()) {
      const u = app.users.get(id);
      if (u) byName.set(u.username, id);
    }
    const { ids, all } = mentionsIn(content, (name) => byName.get(name));
    const everybody = all && this.chat.kind !== "private";
    const editing = this.editing;
    if (editing) {
      if (saving.has(editing)) return false;
      saving.add(editing);
      try {
        if (content !== editing.content) {
          await app.call("message.edit", { chat_id: this.chatId, seq: editing.seq, content, mentions: ids, mention_all: everybody });
        }
      } finally {
        saving.delete(editing);
      }
      this.#saved(editing, content);
      return true;
    }
    const replyTo = this.replyTo;
    const written = this.text;
    this.text = "";
    this.replyTo = 0;
    this.#stopTyping();
    this.#newAfter = -1;
    try {
      await this.#client.queue({
        chatId: this.chatId,
        content,
        ...(replyTo ? { replyTo } : {}),
        ...(ids.length ? { mentions: ids } : {}),
        ...(everybody ? { mentionAll: true } : {}),
      });
    } catch (e) {
      // Nothing of it is lost, nor of what was written since.
      if (!this.editing && !this.#closed) {
        this.text = this.text ? content + "\n" + this.text : content;
        this.replyTo ||= replyTo;
        this.#keepDraft(this.text);
      } else if (!this.#client.draft(this.chatId)) this.#keepDraft(content);
      throw e;
    }
    // What is edited by now is no draft, and who came back has another.
    if (!this.editing && !this.#closed) this.#keepDraft(this.text);
    else if (this.#client.draft(this.chatId) === written) this.#keepDraft("");
    if (!this.atEnd) void this.jumpEnd();
    else {
      this.stuck = true;
      this.target = "end";
    }
    return true;
  }

  // The end of an edit, wherever it is by now; what was written on since stays one.
  #saved(editing: Msg, content: string): void {
    const begun = app.begun.get(this.chatId);
    for (const at of [begun, app.conversation]) {
      if (at?.editing !== editing) continue;
      if (sendable(at.text) !== content) at.editing = { ...editing, content };
      else if (at === begun) app.begun.delete(this.chatId);
      else app.conversation?.cancel();
    }
  }

  outbox(item: Item): void {
    if (item.chatId !== this.chatId || item.progress !== "sent" || !item.seq) return;
    this.#keys.set(item.seq, "p" + item.id);
    this.#sent.set(item.id, item);
  }

  async again(msg: Msg): Promise<void> {
    await this.#client.retry(msg.key.slice(1));
  }

  async discard(msg: Msg): Promise<void> {
    await this.#client.discard(msg.key.slice(1));
  }

  async del(msg: Msg): Promise<void> {
    if (!msg.seq) throw new Failure("conflict", "not sent yet");
    await app.call("message.delete", { chat_id: this.chatId, seq: msg.seq });
  }

  /** A message that another one answers; undefined: not known yet; null: there is none for us. */
  quoted(seq: number): Msg | null | undefined {
    void this.rows; // it may have been edited
    const held = this.#window.timeline.message(seq);
    return held ? rowMsg(held, this.#keys.get(seq)) : this.#quotes.get(seq);
  }
}

function person(p: { user_id: string; username: string; name: string }) {
  const { user_id, username, name, avatar, status } = p as typeof p & { avatar?: string; status?: string };
  return { user_id, username, name, ...(avatar ? { avatar } : {}), ...(status ? { status } : {}) };
}

function lowerBound(list: readonly { seq: number }[], seq: number): number {
  let lo = 0;
  let hi = list.length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (list[mid]!.seq < seq) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}
