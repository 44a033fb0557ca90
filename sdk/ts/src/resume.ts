import {
  drop, heardOf, is, recount, refusedChat, reset, room, snapshot, sound, stale, state, tell, tellRemoval, tellState, todo, unsee, waiting,
  type Change, type Entry,
} from "./chats.js";
import { broke, GrimaError } from "./errors.js";
import { pumpMark } from "./marks.js";
import { limits, type ChangesListResult, type ErrorBody, type SyncParams, type SyncResult } from "./protocol.gen.js";
import { addRange } from "./ranges.js";
import { pumpOutbox } from "./sending.js";
import type { Session } from "./session.js";
import { retryIn } from "./settings.js";

/** Where the sync of a connection stands. */
export interface Syncing {
  due: boolean; // there is something to ask for
  first: boolean; // nothing was told to be synced on this connection yet
  asking: boolean;
  pages: number;
  notBefore: number; // 0: now
  tries: number;
  heard: boolean; // a chat's event came since the last one
}

export function noSync(): Syncing {
  return { due: false, first: false, asking: false, pages: 0, notBefore: 0, tries: 0, heard: false };
}

const syncPage = 80; // chats; each may be told as three events
const changesPage = 200; // rows
/**
 * A cursor moves on only with a sync, so there is one now and then also while
 * everything is told live. It also finds what a server forgot to tell.
 */
const syncAgain = 300_000;
/**
 * How many events more than others the first sync of a connection may make wait:
 * who waits to be ready does not read.
 */
const firstSync = 20_000;
/** Bounds a sync that does not come to its end. */
const maxSyncPages = 10_000;
/** Bounds Chat.unseen. */
const maxUnseen = 512;

/**
 * Asks for, and tells, whatever there is room for. It is called at the end of
 * everything that could make a difference.
 */
export function pump(s: Session, now: number): void {
  if (!s.ready) return;
  if (s.unasked) throw s.unasked;
  pumpOutbox(s, now);
  for (const id of [...s.removals]) {
    if (room(s) <= 0) break;
    tellRemoval(s, id);
  }
  pumpSync(s, now);
  pumpChats(s, now);
}

/** pump for who is not to blame: what is wrong ends the connection at the next tick. */
export function pumpSoon(s: Session, now: number): void {
  try {
    pump(s, now);
  } catch (err) {
    if (!(err instanceof GrimaError)) throw err;
    s.unasked = err;
  }
}

/** Asks for the next page of what changed. */
function pumpSync(s: Session, now: number): void {
  const y = s.sync;
  if (y.asking || now < y.notBefore) return;
  y.notBefore = 0;
  if (y.heard && !y.due) {
    y.due = true;
    y.heard = false;
  }
  const places = 3 * syncPage + 2;
  if (!y.due || room(s) + (y.first ? firstSync : 0) < places) return;
  y.asking = true;
  s.reserved += places;
  const p: SyncParams = { limit: syncPage, timeline_limit: y.first ? s.cfg.timeline : 0 };
  if (s.cursor !== "") p.cursor = s.cursor;
  const gen = s.gen;
  s.askFor(now, "sync", p, (at, page, failure) => {
    s.reserved -= places;
    y.asking = false;
    if (gen === s.gen) synced(s, at, page, failure);
  });
}

/** Takes an answer to sync. */
function synced(s: Session, now: number, page: SyncResult, failure: ErrorBody | undefined): void {
  const y = s.sync;
  if (failure) {
    if (failure.code === "cursor_invalid" && s.cursor !== "") return startOver(s);
    if (!failure.retryable) throw broke(`it refuses to sync: ${failure.message} (${failure.code})`);
    y.notBefore = now + retryIn(s.cfg, failure, y.tries++);
    return;
  }
  y.tries = 0;
  if (++y.pages > maxSyncPages || page.chats.length > syncPage || page.cursor === "") {
    throw broke(`a page of sync that cannot be: ${page.chats.length} chats, the ${y.pages}. page`);
  }
  for (const cs of page.chats) {
    if (!state(s, cs)) continue;
    // As another epoch, if only the server had said so.
    if (s.wentBack) throw broke(`the position of ${cs.chat_id} went back`);
    s.wentBack = true;
    return startOver(s);
  }
  // What the cursor covers is told before it, room or not: it may be all that is
  // kept.
  for (const id of [...s.removals]) tellRemoval(s, id);
  for (const cs of page.chats) {
    const e = s.chats.get(cs.chat_id);
    if (e?.known) tellState(s, e);
  }
  s.cursor = page.cursor;
  s.complete ||= !page.has_more;
  s.queue.put({ kind: "cursor", userId: s.user.user_id, cursor: s.cursor, epoch: s.epoch, complete: s.complete });
  if (page.has_more) return;
  if (y.first) {
    s.setLink({ link: "online" });
    s.queue.only({ kind: "synced" });
  }
  s.sync = { ...noSync(), notBefore: now + syncAgain, heard: y.heard };
}

/** Forgets the positions, and syncs from the beginning. */
function startOver(s: Session): void {
  reset(s, s.epoch);
  s.sync = { ...noSync(), due: true, first: true };
  s.setLink({ link: "syncing" });
}

/** Does what chats are waiting for: those in focus first. */
function pumpChats(s: Session, now: number): void {
  if (s.work.length === 0) return;
  for (const id of s.focused ?? []) {
    const e = s.chats.get(id);
    if (e?.queued) serve(s, now, e);
  }
  const work = s.work;
  s.work = [];
  for (const e of work) {
    e.queued = false;
    if (is(s, e) && serve(s, now, e)) todo(s, e);
  }
}

/** Asks and tells what e waits for. Reports whether e still waits. */
function serve(s: Session, now: number, e: Entry): boolean {
  if (s.removals.has(e.st.chat_id)) return true;
  if (room(s) > 0) tellState(s, e);
  if (now >= e.notBefore) e.notBefore = 0;
  pumpMark(s, now, e);
  if (!e.asking && e.notBefore === 0) {
    if (!e.known) {
      // What changed while the user was away, sync tells.
      if (s.connection.link === "online" && room(s) >= 3) fetchState(s, now, e);
    } else if (stale(s, e)) {
      catchUp(s, now, e);
    } else if (e.fetch && !e.st.mark && room(s) >= 3) {
      fetchState(s, now, e);
    }
  }
  return waiting(s, e);
}

/** Asks for what changed in e after its position. */
function catchUp(s: Session, now: number, e: Entry): void {
  const st = e.st;
  const most = s.cfg.maxCatchUp;
  const chatId = st.chat_id;
  if (most > 0 && st.last_seq - st.pos > most && room(s) > 0) {
    delete st.unseen;
    const prevSeq = st.pos;
    st.pos = st.last_seq;
    e.live = false;
    if (e.counted < st.pos) recount(s, e);
    s.queue.put({ kind: "skipped", chatId, prevSeq, seq: st.pos, state: snapshot(e) });
    return;
  }
  const limit = Math.min(changesPage, Math.floor(s.cfg.buffer / 2));
  const places = limit + 2; // the chat's own row, and how far it went
  if (room(s) < places) return;
  s.reserved += places;
  e.asking = true;
  const after = st.pos;
  s.askFor(now, "changes.list", { chat_id: chatId, after, limit }, (at, page, failure) => {
    s.reserved -= places;
    e.asking = false;
    if (!is(s, e)) return; // left, or another history: not of this chat any more
    if (failure) return refusedChat(s, at, e, failure);
    changes(s, e, after, limit, page);
  });
}

/** Takes a page of changes.list after a position (docs/protocol.md#changes). */
function changes(s: Session, e: Entry, after: number, limit: number, page: ChangesListResult): void {
  e.tries = 0;
  const st = e.st;
  const n = page.messages.length + page.participants.length;
  if (n > limit || page.next < after || page.next > limits.maxInteger || (page.has_more && page.next <= after)) {
    throw broke(`a page of changes that cannot be: ${n} rows, from ${after} to ${page.next}`);
  }
  for (const p of page.participants) {
    if (p.user_id === s.user.user_id && !p.left_seq && p.joined_seq > (st.joined_seq ?? 0)) {
      // Left and came back, unheard.
      drop(s, e, 0);
      heardOf(s, st.chat_id, p.joined_seq - 1, st.last_seq);
      return;
    }
  }
  const before = st.pos;
  for (const ev of rows(st.chat_id, page)) {
    sound(ev);
    if (ev.seq <= after || ev.seq > page.next) throw broke(`a page of changes from ${after} to ${page.next} has one of ${ev.seq}`);
    if (ev.seq <= st.pos) continue; // it was told live meanwhile
    ev.prevSeq = st.pos;
    unseen(e, ev.prevSeq + 1, ev.seq - 1);
    tell(s, e, ev);
  }
  if (page.next > st.pos) {
    const ev: Change = { chatId: st.chat_id, prevSeq: st.pos, seq: page.next };
    unseen(e, ev.prevSeq + 1, ev.seq);
    tell(s, e, ev);
  }
  if (!page.has_more) unsee(e, 1, page.next);
  else if (st.unseen && st.unseen.length > maxUnseen) st.unseen = st.unseen.slice(-maxUnseen);
  if (st.pos >= st.last_seq) {
    e.live = false;
  } else if (st.pos > before || page.has_more) {
    e.idle = 0;
  } else if (++e.idle > 1) {
    // An answer may cross an event; a second one to a question that was asked
    // after the event may not.
    st.last_seq = st.pos;
    throw broke(`${st.chat_id} is said to be further than its changes`);
  }
  todo(s, e);
}

function unseen(e: Entry, from: number, to: number): void {
  const r = addRange(e.st.unseen ?? [], from, to);
  if (r.length > 0) e.st.unseen = r;
}

/**
 * A page's rows as events, in order. Rows of one position, as of a chat and its
 * creator, are one event.
 */
function rows(chatId: string, page: ChangesListResult): Change[] {
  const evs: Change[] = [];
  const put = (seq: number): Change => {
    const ev: Change = { chatId, seq, prevSeq: seq - 1 };
    evs.push(ev);
    return ev;
  };
  for (const m of page.messages) put(m.updated_seq).message = m;
  for (const p of page.participants) put(p.updated_seq).participant = p;
  const c = page.chat;
  if (c) (evs.find((ev) => ev.seq === c.updated_seq) ?? put(c.updated_seq)).chat = c;
  return evs.sort((a, b) => a.seq - b.seq);
}

/** Asks for the state of a chat: one that was heard of only, or whose counts are uncertain. */
function fetchState(s: Session, now: number, e: Entry): void {
  const places = 3;
  s.reserved += places;
  e.asking = true;
  e.fetch = false;
  const chatId = e.st.chat_id;
  s.askFor(now, "chats.get", { chat_id: chatId }, (at, r, failure) => {
    s.reserved -= places;
    e.asking = false;
    if (!is(s, e)) return;
    if (failure) return refusedChat(s, at, e, failure);
    const cs = r.chat;
    if (cs.chat_id !== chatId) throw broke(`asked for ${chatId} it answers ${cs.chat_id}`);
    const counted = Math.max(e.counted, e.newest);
    const was = e.known;
    state(s, cs);
    if (is(s, e) && e.known && was && (cs.last_seq < counted || cs.read_seq < e.st.read_seq)) {
      // The answer crossed an event. A server that does not get on has the last
      // word.
      e.fetch = ++e.tries < 3;
    }
    if (is(s, e) && !e.known) e.notBefore = at + s.cfg.minBackoffMs; // a state from before the user came back
    todo(s, e);
  });
}
