import type { Participant, ParticipantsListResult } from "./protocol.gen.js";

/**
 * Who is in a chat: the pages of participants.list, and what events tell of people
 * (participant.*, read) while they come. A row is never taken for a newer one, and
 * who came or went while the list was read is where the events say.
 */
export class Roster {
  /** The rows of who is in, by user id. Until complete, some of them. */
  readonly members: Map<string, Participant>;
  #complete = false;
  #loads = 0;
  #told = new Map<string, number>(); // since the last load began: the change that events told last of whom

  /** members: what is to be filled, as a map that a page watches; it is nobody else's to change. */
  constructor(members: Map<string, Participant> = new Map()) {
    this.members = members;
  }

  /** Whether members is everybody: a list was read to its end. */
  get complete(): boolean {
    return this.#complete;
  }

  /**
   * Reads the list: page asks for the one behind a cursor, undefined: the first.
   * Whoever is not in it any more is taken out. False: a later load, or stop, has
   * made it void. Rejects with what page rejects with.
   */
  async load(page: (cursor: string | undefined) => Promise<ParticipantsListResult>, stop: () => boolean = () => false): Promise<boolean> {
    const mine = ++this.#loads;
    const told = (this.#told = new Map());
    const listed = new Set<string>();
    for (let cursor: string | undefined; ; ) {
      const got = await page(cursor);
      if (mine !== this.#loads || stop()) return false;
      for (const p of got.participants) {
        listed.add(p.user_id);
        // Of who is newer, or gone, by what events told, the page is too old.
        if (p.updated_seq >= (told.get(p.user_id) ?? 0)) this.#put(p);
      }
      if (!got.has_more || got.cursor === undefined) break;
      cursor = got.cursor;
    }
    for (const id of [...this.members.keys()]) if (!listed.has(id) && !told.has(id)) this.members.delete(id);
    this.#complete = true;
    return true;
  }

  /** Takes the row of a participant event. */
  apply(p: Participant): void {
    const known = Math.max(this.members.get(p.user_id)?.updated_seq ?? 0, this.#told.get(p.user_id) ?? 0);
    if (p.updated_seq < known) return;
    this.#told.set(p.user_id, p.updated_seq);
    if (p.left_seq) this.members.delete(p.user_id);
    else this.#put(p);
  }

  /** Takes a read mark. */
  read(userId: string, seq: number): void {
    const p = this.members.get(userId);
    if (p && seq > (p.read_seq ?? 0)) this.members.set(userId, { ...p, read_seq: seq });
  }

  // A row without what only lists have keeps that, and marks only move forward,
  // within one membership.
  #put(p: Participant): void {
    const was = this.members.get(p.user_id);
    const older = was !== undefined && was.updated_seq > p.updated_seq;
    if (was && was.joined_seq === p.joined_seq) {
      const read = Math.max(was.read_seq ?? 0, p.read_seq ?? 0);
      p = { ...(older ? { ...p, ...was } : { ...was, ...p }), ...(read ? { read_seq: read } : {}) };
    } else if (older) return;
    this.members.set(p.user_id, p);
  }
}
