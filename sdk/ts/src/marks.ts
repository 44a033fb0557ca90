import { is, read, recount, refusedChat, room, tellState, todo, type Entry } from "./chats.js";
import type { SessionUpdateParams } from "./protocol.gen.js";
import type { Session } from "./session.js";

/** Moves the user's read mark in a chat up to seq. */
export function markRead(s: Session, chatId: string, seq: number): void {
  const e = s.chats.get(chatId);
  // What is above last_seq may be a send whose event has yet to come.
  if (!e?.known || seq <= e.st.read_seq) return;
  e.st.mark = seq;
  read(s, e, seq);
  e.news = true;
  todo(s, e);
  if (room(s) > 0) tellState(s, e);
}

/** Tells the server the mark. */
export function pumpMark(s: Session, now: number, e: Entry): void {
  const mark = e.st.mark ?? 0;
  if (mark === 0 || e.markTold > 0 || e.notBefore > 0) return;
  e.markTold = mark;
  s.askFor(now, "read.set", { chat_id: e.st.chat_id, seq: mark }, (at, _, failure) => {
    e.markTold = 0;
    if (!is(s, e)) return;
    if (failure?.retryable) return refusedChat(s, at, e, failure);
    if (e.st.mark === mark) delete e.st.mark;
    if (failure) {
      e.st.read_seq = 0; // the server knows better
      recount(s, e);
    }
    e.news = true;
    todo(s, e);
  });
}

/** Which chats are on the screen. */
export function focus(s: Session, now: number, chatIds: readonly string[]): void {
  s.focused = [...chatIds];
  for (const id of chatIds) {
    const e = s.chats.get(id);
    if (e) todo(s, e);
  }
  update(s, now, { focus: [...chatIds] });
}

/** Whether a person looks. */
export function setActive(s: Session, now: number, active: boolean): void {
  if (s.active === active) return;
  s.active = active;
  update(s, now, { active });
}

/** Says what was said before on other connections. */
export function tellConnection(s: Session, now: number): void {
  const p: SessionUpdateParams = {};
  if (s.focused) p.focus = [...s.focused];
  if (s.active === false) p.active = false;
  if (Object.keys(p).length > 0) update(s, now, p);
}

function update(s: Session, now: number, p: SessionUpdateParams): void {
  if (s.ready) s.askFor(now, "session.update", p, () => undefined); // all it is for may be lost
}

/** How often the server is told that one is typing. */
const typingEvery = 5000;

/** Tells the others that one is typing, or no longer is. */
export function typing(s: Session, now: number, chatId: string, stop: boolean): void {
  const here = s.typed?.chatId === chatId ? s.typed : undefined;
  if (!s.ready || (stop && !here) || (!stop && here && now - here.at < typingEvery)) return;
  s.typed = stop ? undefined : { chatId, at: now }; // one types in one place
  s.askFor(now, "typing", stop ? { chat_id: chatId, stop } : { chat_id: chatId }, () => undefined);
}
