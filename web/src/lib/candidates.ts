// Whom a name that is being written may mean.
import type { Client, User } from "@grima/sdk";
import { app } from "./app.svelte.ts";
import { words } from "./format.ts";
import { t } from "./strings.ts";

/** Something that a name can be completed to. */
export interface Candidate {
  id: string; // "" : everybody
  username: string;
  name: string;
}

/** Those of a chat's members whose names begin so, the nearest first. all: everybody can be meant, too. */
export async function candidates(client: Client, members: readonly string[], prefix: string, all: boolean): Promise<Candidate[]> {
  const list: Candidate[] = [];
  // Who came in a moment ago was drawn nowhere yet, and so not asked for.
  const unknown = members.filter((id) => !app.users.has(id)).slice(0, 200);
  if (unknown.length) {
    try {
      app.learn([...(await client.users(unknown, { signal: AbortSignal.timeout(5_000) })).values()] as User[]);
    } catch {
      // Those who are known are offered.
    }
  }
  for (const id of members) {
    const u = app.users.get(id);
    if (!u || id === app.self?.user_id) continue;
    if (u.username.startsWith(prefix) || words(u.name).some((w) => w.startsWith(prefix))) list.push({ id, username: u.username, name: u.name });
  }
  // Whose username it is comes first, and is not left out for the others.
  const rank = (c: Candidate) => (c.username === prefix ? 0 : c.username.startsWith(prefix) ? 1 : 2);
  list.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
  list.splice(8);
  if (all && "all".startsWith(prefix)) list.push({ id: "", username: "all", name: t.compose.everybody });
  return list;
}
