import { utf8Length, wellFormed } from "./codec.js";
import { broke, GrimaError, refused } from "./errors.js";
import { newId } from "./ids.js";
import { limits, type ErrorBody, type ErrorCode, type MessageSendParams, type MessageSendResult } from "./protocol.gen.js";
import type { Ask, Session } from "./session.js";
import { retryIn } from "./settings.js";
import type { Draft, Item } from "./types.js";

/**
 * The pending items of one chat, in order. One of them is tried at a time: of two
 * that are under way the first could fail for the moment and the second not, and
 * their order would be lost.
 */
export interface Box {
  items: Queued[];
  trying: Ask | undefined;
  notBefore: number;
}

/** A message in the outbox. */
export interface Queued {
  item: Item;
  ordinal: number;
}

/** Bounds the sends that are under way. */
const maxTrying = 64;

export function outbox(s: Session): Item[] {
  return [...s.items.values()].sort((a, b) => a.ordinal - b.ordinal).map((x) => x.item);
}

export function draft(s: Session, now: number, d: Draft): Item {
  const refuse = (code: ErrorCode, message: string): never => {
    throw new GrimaError({ reason: "refused", code, message });
  };
  const id = d.id || newId(now);
  if (s.stopped) throw new GrimaError({ reason: "closed", message: "the client is closed" });
  if (s.items.size >= s.cfg.maxOutbox) throw new GrimaError({ reason: "outbox_full", message: "the outbox is full" });
  if (s.items.has(id)) throw twice();
  if (d.chatId === "") refuse("invalid_request", "a message goes to a chat");
  if (d.content === "") refuse("invalid_request", "a message has content");
  if (utf8Length(d.content) > (s.hello?.limits.max_content || limits.maxContent)) refuse("content_too_large", "the message is too long");
  if (!wellFormed(d.content)) refuse("invalid_utf8", "the message has half a surrogate pair");
  if ((d.mentions?.length ?? 0) > limits.maxMentions) refuse("invalid_request", "the message mentions too many people");
  const it: Item = { id, chatId: d.chatId, content: d.content, progress: "pending", queuedAt: now, tries: 0 };
  if (d.replyTo) it.replyTo = d.replyTo;
  if (d.mentions?.length) it.mentions = [...d.mentions];
  if (d.mentionAll) it.mentionAll = true;
  return it;
}

function twice(): GrimaError {
  return new GrimaError({ reason: "refused", code: "conflict", message: "this message is in the outbox already" });
}

export function enqueue(s: Session, it: Item): void {
  if (s.items.has(it.id)) throw twice();
  told(s, restore(s, it));
}

/** Puts an item into the outbox that was told of already. */
export function restore(s: Session, item: Item): Queued {
  const x: Queued = { item, ordinal: ++s.ordinal };
  s.items.set(item.id, x);
  if (item.progress === "pending") put(box(s, item.chatId), x);
  return x;
}

function box(s: Session, chatId: string): Box {
  let b = s.boxes.get(chatId);
  if (!b) {
    b = { items: [], trying: undefined, notBefore: 0 };
    s.boxes.set(chatId, b);
  }
  return b;
}

function put(b: Box, x: Queued): void {
  let i = b.items.length;
  while (i > 0 && b.items[i - 1]!.ordinal > x.ordinal) i--;
  b.items.splice(i, 0, x);
}

/** Tells how an item stands. */
function told(s: Session, x: Queued): void {
  s.queue.item({ kind: "outbox", chatId: x.item.chatId, item: x.item }, s.cfg.maxOutbox);
}

function find(s: Session, id: string): Queued {
  const x = s.items.get(id);
  if (!x) throw new GrimaError({ reason: "refused", code: "not_found", message: "there is no such message in the outbox" });
  return x;
}

export function retry(s: Session, id: string): void {
  const x = find(s, id);
  if (x.item.progress !== "failed") return;
  const { error, ...it } = x.item;
  void error;
  x.item = { ...it, progress: "pending" };
  x.ordinal = ++s.ordinal;
  put(box(s, x.item.chatId), x);
  told(s, x);
}

export function discard(s: Session, id: string): boolean {
  const x = find(s, id);
  done(s, x);
  x.item = { ...x.item, progress: "discarded" };
  told(s, x);
  return x.item.tries === 0;
}

/** Takes x out. */
function done(s: Session, x: Queued): void {
  s.items.delete(x.item.id);
  unbox(s, x);
}

function unbox(s: Session, x: Queued): void {
  const b = s.boxes.get(x.item.chatId);
  if (!b) return;
  b.items = b.items.filter((o) => o !== x);
  if (b.items.length === 0 && !b.trying) s.boxes.delete(x.item.chatId);
}

/** Forgets what was under way: it is tried again on the next connection, first of its chat. */
export function lost(s: Session): void {
  for (const [id, b] of s.boxes) {
    b.trying = undefined;
    b.notBefore = 0;
    if (b.items.length === 0) s.boxes.delete(id);
  }
}

/** Tries the first item of every chat. */
export function pumpOutbox(s: Session, now: number): void {
  let trying = 0;
  for (const b of s.boxes.values()) if (b.trying) trying++;
  for (const b of [...s.boxes.values()]) {
    if (trying >= maxTrying) return;
    if (b.trying || now < b.notBefore) continue;
    b.notBefore = 0;
    while (!b.trying && b.items.length > 0 && !attempt(s, now, b, b.items[0]!));
    if (b.trying) trying++;
  }
}

/** Sends x. Reports whether that is under way. */
function attempt(s: Session, now: number, b: Box, x: Queued): boolean {
  const it = x.item;
  const p: MessageSendParams = { chat_id: it.chatId, content: it.content, client_msg_id: it.id };
  if (it.replyTo) p.reply_to = it.replyTo;
  if (it.mentions?.length) p.mentions = it.mentions;
  if (it.mentionAll) p.mention_all = true;
  const a: Ask = { id: 0, op: "message.send", at: 0, done: false };
  a.answer = (at, result, failure) => {
    b.trying = undefined;
    if (s.items.get(it.id) !== x) return unbox(s, x); // discarded meanwhile
    sent(s, at, b, x, result as unknown as MessageSendResult, failure);
  };
  x.item = { ...it, tries: it.tries + 1 };
  try {
    s.request(now, a, p);
  } catch (err) {
    if (!(err instanceof GrimaError)) throw err;
    fail(s, x, { code: err.code, message: err.message, retryable: false });
    return false;
  }
  b.trying = a;
  return true;
}

/** Takes the answer to a send. */
function sent(s: Session, now: number, b: Box, x: Queued, r: MessageSendResult, failure: ErrorBody | undefined): void {
  if (!failure) {
    if (r.chat_id !== x.item.chatId || r.seq < 1) throw broke(`a send was answered with seq ${r.seq} of another chat, or none`);
    done(s, x);
    const { error, ...it } = x.item;
    void error;
    x.item = { ...it, progress: "sent", seq: r.seq, sentAt: r.created_at, duplicate: r.duplicate };
    told(s, x);
    return;
  }
  if (failure.code === "unauthenticated" || failure.code === "token_expired") {
    throw refused(failure, "login"); // the message is not at fault
  }
  if (!failure.retryable) return fail(s, x, failure);
  const first = !x.item.error;
  x.item = { ...x.item, error: failure };
  b.notBefore = now + retryIn(s.cfg, failure, x.item.tries - 1);
  if (first) told(s, x);
}

/** Gives x up, until somebody says otherwise. */
function fail(s: Session, x: Queued, error: ErrorBody): void {
  unbox(s, x);
  x.item = { ...x.item, progress: "failed", error };
  told(s, x);
}
