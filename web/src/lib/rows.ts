// A message as the page shows it, and where in its list: pure, so that both can be
// made anew for every change of the list.
import type { Item, Message } from "@grima/sdk";
import { dayKey } from "./format.ts";
import { problem } from "./problem.ts";

export interface Msg {
  key: string; // of its row: stable from its first try to its place in the chat
  seq: number; // 0: not there yet
  senderId: string;
  content: string;
  createdAt: string;
  editedAt?: string | undefined;
  deleted: boolean;
  replyTo?: number | undefined;
  mentions: readonly string[];
  mentionAll: boolean;
  state: "sent" | "pending" | "failed";
  error?: string | undefined;
}

const made = new WeakMap<object, Msg>();
/** The page's form of a message's row: the same for the same row. */
export function rowMsg(m: Message, key = "s" + m.seq): Msg {
  const was = made.get(m);
  if (was && was.key === key) return was;
  const msg: Msg = {
    key,
    seq: m.seq,
    senderId: m.sender_id,
    content: m.content ?? "",
    createdAt: m.created_at,
    editedAt: m.edited_at,
    deleted: m.deleted ?? false,
    replyTo: m.reply_to,
    mentions: m.mentions ?? [],
    mentionAll: m.mention_all ?? false,
    state: "sent",
  };
  made.set(m, msg);
  return msg;
}

/** The same of something in the outbox. */
export function itemMsg(item: Item, self: string): Msg {
  const was = made.get(item);
  if (was) return was;
  const msg: Msg = {
    key: "p" + item.id,
    seq: 0,
    senderId: self,
    content: item.content,
    createdAt: new Date(item.queuedAt).toISOString(),
    deleted: false,
    replyTo: item.replyTo,
    mentions: item.mentions ?? [],
    mentionAll: item.mentionAll ?? false,
    state: item.progress === "failed" ? "failed" : "pending",
    error: item.progress === "failed" && item.error ? problem(item.error) : undefined,
  };
  made.set(item, msg);
  return msg;
}

export interface Row {
  key: string;
  msg: Msg;
  first: boolean; // begins a group of its author
  day: boolean; // begins a day
  isNew: boolean; // the first that is not read
}

const groupMs = 5 * 60_000;

/** Lays a list out. newAfter: the seq behind which the "new" line stands; -1: none. */
export function layout(list: readonly Msg[], newAfter: number, self: string, before: ReadonlyMap<string, Row>): Row[] {
  const rows: Row[] = [];
  let prev: Msg | undefined;
  let marked = newAfter < 0;
  for (const msg of list) {
    const day = !prev || dayKey(prev.createdAt) !== dayKey(msg.createdAt);
    let isNew = false;
    if (!marked && msg.seq > newAfter && msg.senderId !== self) {
      marked = true;
      isNew = true;
    }
    const first =
      day ||
      isNew ||
      !prev ||
      prev.senderId !== msg.senderId ||
      msg.replyTo !== undefined ||
      Date.parse(msg.createdAt) - Date.parse(prev.createdAt) > groupMs;
    const old = before.get(msg.key);
    // The same row when nothing about it changed: then nothing is drawn anew.
    if (old && old.msg === msg && old.first === first && old.day === day && old.isNew === isNew) rows.push(old);
    else rows.push({ key: msg.key, msg, first, day, isNew });
    prev = msg;
  }
  return rows;
}
