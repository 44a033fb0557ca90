// A message as the page shows it, and where in its list: pure, so that it can be
// made anew for every change of the list.
import { dayKey } from "./format.ts";

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
