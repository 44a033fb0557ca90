// Finding people by the words of their names.
import type { User } from "@grima/sdk";
import { app } from "./app.svelte.ts";

/** People who were found by what was typed, and with what to ask for more of them; undefined: there are no more. */
export interface Found {
  find: string;
  people: readonly User[];
  cursor: string | undefined;
}
export const nobody: Found = { find: "", people: [], cursor: undefined };
const foundPage = 30; // people asked for at a time

/** A page of those who are wanted and have these words in their names, of everybody by none. */
export function findPeople(find: string, wanted: (user: User) => boolean): Promise<Found> {
  return morePeople({ ...nobody, find }, wanted);
}

/** Those who were found, and a page more of them. */
export async function morePeople(found: Found, wanted: (user: User) => boolean): Promise<Found> {
  const words = found.find.replace(/^@/, "");
  // A server that cannot find, as one of several may be, would list everybody (docs/protocol.md#find).
  const able = app.client?.hello?.capabilities.includes("find");
  const by = !words ? {} : able ? { find: words } : { prefix: words };
  // Whoever gets another name meanwhile may come again.
  const people = new Map(found.people.map((u) => [u.user_id, u]));
  const enough = people.size + foundPage / 2;
  let cursor = found.cursor;
  // The server's pages have others, too, and may be empty.
  for (let pages = 0; pages === 0 || (cursor && people.size < enough && pages < 5); pages++) {
    const page = await app.call("users.list", { limit: foundPage, ...by, ...(cursor ? { cursor } : {}) });
    for (const u of page.users) if (!u.disabled && wanted(u)) people.set(u.user_id, u);
    cursor = page.has_more ? page.cursor : undefined;
  }
  return { find: found.find, people: [...people.values()], cursor };
}
