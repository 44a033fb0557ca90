import { broke } from "./errors.js";
import { limits, shapes, type ChatState, type ErrorBody, type EventFrame, type Message, type Participant, type User } from "./protocol.gen.js";
import type { ChatRow } from "./protocol.gen.js";
import { hasPosition, removeRange } from "./ranges.js";
import type { Session } from "./session.js";
import { maxChats, retryIn } from "./settings.js";
import type { Chat, Event } from "./types.js";

/**
 * A chat of the session's. Until its state is known it is one that was heard of
 * only: low and st.last_seq say what of.
 */
export interface Entry {
  known: boolean;
  st: Chat; // as it is now; st.mark is what markRead wants. Its lists are never changed
  low: number; // not known: the position before the first event heard of
  before: number; // pos when the connection began
  counted: number; // the position that the counts are of, and messages told as new since
  newest: number; // the last of those
  level: number; // the last request asked before an event told st.notify; 0: none did
  live: boolean; // an event was heard that could not be applied: catch up even if lazy

  // What is to be done.
  queued: boolean; // it is in Session.work
  asking: boolean; // a request of it is under way
  fetch: boolean; // its state is to be asked for: it is uncertain
  news: boolean; // chat.state is to be told
  idle: number; // answers to changes.list in a row that brought it no further
  notBefore: number; // 0: now
  tries: number;
  markTold: number; // the read.set under way
}

/** A durable event before its kind is known. */
export interface Change {
  chatId: string;
  seq: number;
  prevSeq: number;
  message?: Message;
  participant?: Participant;
  chat?: ChatRow;
  actorId?: string;
}

function entry(st: Chat, known: boolean): Entry {
  return {
    known, st, low: 0, before: 0, counted: 0, newest: 0, level: 0, live: false,
    queued: false, asking: false, fetch: false, news: false, idle: 0, notBefore: 0, tries: 0, markTold: 0,
  };
}

function unknownChat(chatId: string, last: number): Chat {
  return {
    chat_id: chatId, kind: "", created_at: "", updated_seq: 0, last_seq: last, membership: "", read_seq: 0,
    unread: 0, mentions: 0, pos: 0,
  };
}

export function restored(c: Chat): Entry {
  return { ...entry({ ...c }, true), counted: c.last_seq };
}

/** Prepares e for a new connection. */
export function connected(e: Entry): void {
  e.before = e.st.pos;
  e.idle = e.notBefore = e.tries = e.markTold = 0;
  e.queued = e.asking = false;
  e.fetch = e.st.uncertain ?? false;
}

/** Whether there is something to ask or to tell about e. */
export function waiting(s: Session, e: Entry): boolean {
  return !e.known || e.news || e.asking || (e.st.mark ?? 0) > 0 || stale(s, e) || e.fetch;
}

/** Whether e is to be caught up. */
export function stale(s: Session, e: Entry): boolean {
  return e.st.pos < e.st.last_seq && (!s.cfg.lazy || e.live || (s.focused?.includes(e.st.chat_id) ?? false));
}

/** Puts e among those with something to do. */
export function todo(s: Session, e: Entry): void {
  if (e.queued) return;
  e.queued = true;
  s.work.push(e);
}

/** Whether e is still the session's entry of its chat: nobody left it since. */
export function is(s: Session, e: Entry): boolean {
  return s.chats.get(e.st.chat_id) === e;
}

/** The state to tell: nobody changes it any more. */
export function snapshot(e: Entry): Chat {
  return { ...e.st };
}

/** How many events may be told now. */
export function room(s: Session): number {
  return s.cfg.buffer - s.queue.length - s.reserved;
}

/** Tells how e stands, if there is news. */
export function tellState(s: Session, e: Entry): void {
  if (!e.news) return;
  e.news = false;
  s.queue.put({ kind: "chat.state", chatId: e.st.chat_id, state: snapshot(e) });
}

/** Takes a live event (docs/protocol.md#events). */
export function event(s: Session, now: number, f: EventFrame): void {
  const seq = f.seq ?? 0;
  if (seq === 0) return ephemeral(s, now, f);
  const ev: Change = { chatId: f.chat_id ?? "", seq, prevSeq: f.prev_seq || seq - 1 };
  if (f.message) ev.message = f.message;
  if (f.participant) ev.participant = f.participant;
  if (f.chat) ev.chat = f.chat;
  if (f.actor_id) ev.actorId = f.actor_id;
  sound(ev);
  s.sync.heard = true;
  let e = s.chats.get(ev.chatId);
  if (f.event === "chat.deleted" || (ev.participant?.user_id === s.user.user_id && (ev.participant.left_seq ?? 0) > 0)) {
    // Else a page was quicker to say that the user is in again.
    if (!e || seq > (e.known ? (e.st.joined_seq ?? 0) : e.low)) leave(s, e, ev);
    return;
  }
  if (!e) {
    if (seq <= (s.left.get(ev.chatId) ?? 0)) return;
    if (s.chats.size >= maxChats) throw broke(`more than ${maxChats} chats`);
    e = heardOf(s, ev.chatId, ev.prevSeq, 0);
  }
  if (e.known) {
    if (seq <= e.st.pos) return;
    if (ev.prevSeq <= e.st.pos && f.event !== "gap" && room(s) > 0) {
      // A position that moved on meanwhile is no reason to tell it again.
      ev.prevSeq = e.st.pos;
      return tell(s, e, ev);
    }
  }
  // There is a hole, or no room: changes.list will bring it.
  e.live = true;
  e.st.last_seq = Math.max(e.st.last_seq, seq);
  todo(s, e);
}

/** Makes the entry of a chat that is to be told from low on, once its state is known. */
export function heardOf(s: Session, chatId: string, low: number, last: number): Entry {
  const e = { ...entry(unknownChat(chatId, last), false), low };
  s.chats.set(chatId, e);
  todo(s, e);
  return e;
}

/** Checks what an event or a row of a page says. */
export function sound(ev: Change): void {
  const { message: m, participant: p, chat: c } = ev;
  if (ev.chatId === "") throw broke("an event of no chat");
  if (ev.prevSeq < 0 || ev.prevSeq >= ev.seq || ev.seq > limits.maxInteger) throw broke(`an event from ${ev.prevSeq} to ${ev.seq}`);
  const alien = (what: string): never => {
    throw broke(`the event of ${ev.chatId} at ${ev.seq} has a ${what} that does not belong there`);
  };
  if (m && (m.chat_id !== ev.chatId || m.seq < 1 || m.updated_seq < m.seq || m.updated_seq > ev.seq)) alien("message");
  if (p && (p.user_id === "" || p.updated_seq > ev.seq)) alien("participant");
  if (c && (c.chat_id !== ev.chatId || c.updated_seq > ev.seq)) alien("chat");
}

/**
 * Drops a chat, of which ev is the last event. What is still being answered about
 * it finds another entry, or none.
 */
function leave(s: Session, e: Entry | undefined, ev: Change): void {
  s.left.set(ev.chatId, Math.max(s.left.get(ev.chatId) ?? 0, ev.seq));
  if (e) drop(s, e, ev.seq);
}

/** Forgets e and tells so if it was told of. */
export function drop(s: Session, e: Entry, seq: number): void {
  const chatId = e.st.chat_id;
  s.chats.delete(chatId);
  if (!e.known) return;
  if (room(s) > 0) s.queue.put({ kind: "chat.removed", chatId, seq });
  else s.removals.add(chatId);
}

/** Tells that a chat is not there any more. */
export function tellRemoval(s: Session, chatId: string): void {
  s.removals.delete(chatId);
  s.queue.put({ kind: "chat.removed", chatId, seq: 0 });
}

/** Takes an error of a question about e. */
export function refusedChat(s: Session, now: number, e: Entry, failure: ErrorBody): void {
  if (failure.code === "not_found") return drop(s, e, 0);
  if (!failure.retryable) throw broke(`it refuses to say how ${e.st.chat_id} stands: ${failure.message} (${failure.code})`);
  e.notBefore = now + retryIn(s.cfg, failure, e.tries++);
  todo(s, e);
}

/**
 * Tells a durable event of a chat that is known. Its prevSeq is the chat's
 * position, which moves on in the same step.
 */
export function tell(s: Session, e: Entry, ev: Change): void {
  const st = e.st;
  const kind = kindOf(e, ev);
  const { message: m, participant: p, chat: c } = ev;
  if (m) {
    unsee(e, m.seq, m.seq);
    count(s, e, kind, m);
    const last = st.messages?.at(-1);
    if (!last || last.seq < m.seq || (last.seq === m.seq && last.updated_seq <= m.updated_seq)) st.messages = [m];
  }
  if (p) {
    unsee(e, p.joined_seq, p.joined_seq);
    if (p.user_id === s.user.user_id) {
      st.role = p.role;
      st.joined_seq = p.joined_seq;
    }
  }
  if (c && c.updated_seq >= st.updated_seq) setRow(st, c);
  st.pos = ev.seq;
  st.last_seq = Math.max(st.last_seq, ev.seq);
  e.idle = 0;
  s.queue.put({ ...ev, kind, state: snapshot(e) } as Event);
}

/** Takes positions out of what is unseen. */
export function unsee(e: Entry, from: number, to: number): void {
  const left = removeRange(e.st.unseen ?? [], from, to);
  if (left.length > 0) e.st.unseen = left;
  else delete e.st.unseen;
}

/** Sets the chat's own row, with whatever a later version has in it. */
function setRow(st: Chat, c: ChatRow): void {
  for (const name of Object.keys(shapes.ChatRow) as (keyof ChatRow)[]) {
    delete (st as Partial<Chat>)[name];
    if (c[name] !== undefined) Object.assign(st, { [name]: c[name] });
  }
}

/** What ev is to this client, which may not have been told of the row before. */
function kindOf(e: Entry, ev: Change): Event["kind"] {
  const { message: m, participant: p } = ev;
  const unseen = e.st.unseen ?? [];
  if (m?.deleted) return "message.deleted";
  if (m) return m.seq > ev.prevSeq || hasPosition(unseen, m.seq) ? "message.created" : "message.updated";
  if (p && (p.left_seq ?? 0) > 0) return "participant.removed";
  if (p) return p.joined_seq > ev.prevSeq || hasPosition(unseen, p.joined_seq) ? "participant.added" : "participant.updated";
  return ev.chat ? "chat.updated" : "moved";
}

/** Keeps the counts up with a message that is told. */
function count(s: Session, e: Entry, kind: Event["kind"], m: Message): void {
  const st = e.st;
  if (m.sender_id === s.user.user_id || m.seq <= st.read_seq || m.updated_seq <= e.counted) return;
  if (kind !== "message.created" || m.seq <= e.counted) {
    // A change of one that is counted already, at all or as a mention.
    if (st.unread > 0) recount(s, e);
    return;
  }
  e.newest = Math.max(e.newest, m.seq);
  st.unread = Math.min(st.unread + 1, maxCount);
  if (m.mention_all || m.mentions?.includes(s.user.user_id)) st.mentions = Math.min(st.mentions + 1, maxCount);
}

/** Means "more than 999". */
const maxCount = 1000;

/** Asks for the counts, which cannot be told from here. */
export function recount(s: Session, e: Entry): void {
  e.fetch = e.st.uncertain = true;
  todo(s, e);
}

/** Takes an event without a position (docs/protocol.md#ephemera). */
function ephemeral(s: Session, now: number, f: EventFrame): void {
  const roomy = room(s) > s.cfg.buffer / 2;
  const userId = f.user_id ?? "";
  if (f.event === "presence") {
    if (roomy) s.queue.put({ kind: "presence", userId, status: f.status ?? "" });
    return;
  }
  if (f.event === "user") return userChanged(s, f.user);
  const chatId = f.chat_id ?? "";
  const e = s.chats.get(chatId);
  if (!e) return;
  const own = userId === s.user.user_id;
  if (own && f.event === "read") level(s, e, f.notify);
  if (!e.known) return;
  if (f.event === "typing" && roomy) {
    const stopped = f.stopped ?? false;
    const until = stopped ? now : now + Math.max(0, Math.min(f.expires_ms ?? 0, 60_000));
    s.queue.put({ kind: "typing", chatId, userId, until, stopped, state: snapshot(e) });
  } else if (f.event === "read") {
    const readSeq = f.read_seq ?? 0;
    if (own) read(s, e, readSeq);
    if (room(s) > 0) {
      s.queue.put({ kind: "read", chatId, userId, readSeq, state: snapshot(e) });
    } else {
      e.news = true;
      todo(s, e);
    }
  }
}

/** Takes what others see of somebody. */
function userChanged(s: Session, user: User | undefined): void {
  if (!user?.user_id) return;
  if (user.user_id === s.user.user_id) {
    // Whether one hides, others do not see.
    s.user = s.user.hides_presence ? { ...user, hides_presence: true } : user;
    s.queue.only({ kind: "self", user: s.user });
  } else if (room(s) > 0) {
    s.queue.put({ kind: "user", user });
  }
}

/**
 * Takes of what the user wants to be told, if the server says so. It has no
 * number: whether a state that comes later was read before shows in when it was
 * asked for.
 */
function level(s: Session, e: Entry, notify: string | undefined): void {
  if (!notify) return; // an older server's
  setLevel(e.st, notify === "all" ? undefined : notify);
  e.level = s.lastId;
}

function setLevel(st: Chat, notify: string | undefined): void {
  if (notify) st.notify = notify;
  else delete st.notify;
}

/** Moves the user's own mark up. */
export function read(s: Session, e: Entry, seq: number): void {
  const st = e.st;
  if (seq <= st.read_seq) return;
  st.read_seq = seq;
  if (seq >= st.last_seq) st.unread = st.mentions = 0;
  else if (st.unread > 0) recount(s, e);
}

/**
 * Takes a chat state of a page of sync or of chats.get. True: history went back,
 * and the state was not taken.
 */
export function state(s: Session, cs: ChatState): boolean {
  const joined = cs.joined_seq ?? 0;
  if (cs.chat_id === "" || cs.last_seq < 0 || joined < 0 || (cs.membership !== "left" && joined > cs.last_seq)) {
    throw broke("a chat state that cannot be");
  }
  let e = s.chats.get(cs.chat_id);
  if (cs.membership === "left" || cs.deleted) {
    // Unless the user came back since.
    if (e && (e.known ? (e.st.joined_seq ?? 0) <= cs.last_seq : e.low < cs.last_seq)) {
      s.left.set(cs.chat_id, Math.max(s.left.get(cs.chat_id) ?? 0, cs.last_seq));
      drop(s, e, 0);
    }
    return false;
  }
  if (cs.last_seq < (s.left.get(cs.chat_id) ?? 0)) return false; // from before the user left
  if (e?.known) {
    if (cs.last_seq < e.before) return true;
    if (joined <= (e.st.joined_seq ?? 0)) {
      refresh(s, e, cs);
      return false;
    }
    // Left and came back, unheard: what was in between is not known, and what was
    // before need not be there any more.
    drop(s, e, 0);
    e = undefined;
  }
  if (!e) {
    if (s.chats.size >= maxChats) throw broke(`more than ${maxChats} chats`);
    e = { ...entry(unknownChat(cs.chat_id, cs.last_seq), false), low: cs.last_seq };
    s.chats.set(cs.chat_id, e);
  }
  add(s, e, cs);
  return false;
}

/** Makes e known. */
function add(s: Session, e: Entry, cs: ChatState): void {
  const last = Math.max(e.st.last_seq, cs.last_seq);
  // A new client begins now; a chat that is new to a client begins where the user
  // came in.
  let pos = Math.min(e.low, cs.last_seq);
  if (s.complete) pos = Math.min(pos, Math.max(cs.joined_seq ?? 0, 1) - 1);
  if (s.removals.has(cs.chat_id)) tellRemoval(s, cs.chat_id);
  e.known = true;
  e.fetch = s.taking <= e.level;
  e.counted = cs.last_seq;
  e.st = { ...cs, pos, last_seq: last };
  s.queue.put({ kind: "chat.added", chatId: cs.chat_id, state: snapshot(e) });
  if (e.st.messages && e.st.messages.length > 1) e.st.messages = e.st.messages.slice(-1);
  todo(s, e);
}

/** The members of a chat state that are kept up here. */
const counted = new Set<string>(["last_seq", "joined_seq", "read_seq", "notify", "unread", "mentions", "messages"]);

/** Takes the state of a chat that is known. */
function refresh(s: Session, e: Entry, cs: ChatState): void {
  const st = e.st;
  st.last_seq = Math.max(st.last_seq, cs.last_seq);
  if (cs.updated_seq >= st.updated_seq) setRow(st, cs);
  for (const name of Object.keys(shapes.ChatState) as (keyof ChatState)[]) {
    if (name in shapes.ChatRow || counted.has(name)) continue;
    delete (st as Partial<Chat>)[name];
    if (cs[name] !== undefined) Object.assign(st, { [name]: cs[name] });
  }
  const m = cs.messages?.at(-1);
  const last = st.messages?.at(-1);
  if (m && (!last || (last.updated_seq <= m.updated_seq && last.seq <= m.seq))) st.messages = [m];
  if (cs.last_seq < Math.max(e.counted, e.newest)) {
    // What was told since is counted.
  } else if (cs.read_seq < st.read_seq) {
    recount(s, e); // a mark of ours has yet to get there
  } else {
    st.read_seq = cs.read_seq;
    st.unread = cs.unread;
    st.mentions = cs.mentions;
    e.counted = cs.last_seq;
    e.fetch = false;
    e.tries = 0;
    delete st.uncertain;
  }
  if (cs.notify !== st.notify && s.taking <= e.level) {
    e.fetch = true; // which of the two is older, another answer says
  } else {
    setLevel(st, cs.notify);
  }
  e.news = true;
  todo(s, e);
}

/** Forgets everything that the server's history of before was. */
export function reset(s: Session, epoch: string): void {
  s.gen++;
  s.chats = new Map();
  s.work = [];
  s.removals = new Set();
  s.left = new Map();
  s.cursor = "";
  s.complete = false;
  s.epoch = epoch;
  s.queue.reset();
  s.queue.only({ kind: "reset", epoch });
}

/** Chats, latest activity first. */
export function sorted(list: Chat[]): Chat[] {
  return list.sort((a, b) => {
    const x = activity(a);
    const y = activity(b);
    if (x !== y) return x > y ? -1 : 1;
    return a.chat_id < b.chat_id ? -1 : 1;
  });
}

/** When something was said in the chat last, or it was made. Times of the server compare as strings. */
export function activity(c: Chat): string {
  return c.messages?.at(-1)?.created_at ?? c.created_at;
}
