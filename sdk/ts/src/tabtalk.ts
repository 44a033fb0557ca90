import type { Command } from "./commands.js";
import type { Failure } from "./errors.js";
import type { Snapshot } from "./mirror.js";
import type { Screen } from "./screens.js";
import type { Event } from "./types.js";

// What tabs say to each other, over their channel: see tabs.ts.

/** Of what tabs say to each other: those of another version of this page are left alone, with a connection of their own. */
export const version = 2;

/** The time in which a tab has the lock. */
export interface Reign {
  gen: number; // 0: none
  leader: string;
}

export function later(a: Reign, b: Reign): boolean {
  return a.gen > b.gen || (a.gen === b.gen && a.leader > b.leader);
}

export function same(a: Reign | undefined, b: Reign): boolean {
  return a !== undefined && a.gen === b.gen && a.leader === b.leader;
}

/** What who takes or leads says of its reign. */
export type Word =
  | { t: "taking"; reign: Reign } // it will tell its state when it has read the store
  | { t: "state"; reign: Reign; n: number; snapshot: Snapshot } // everything, as of its event n
  | { t: "events"; reign: Reign; n: number; events: readonly Event[] } // its event n
  | { t: "here"; reign: Reign; n: number } // it lives, and its last event was n
  | { t: "gone"; reign: Reign }; // it hears nothing more

export type Message =
  | Word
  | { t: "who"; from: string; reign: Reign; attached: boolean } // who leads? A follower knows of a reign, and all of it or not
  | { t: "relay"; events: readonly Event[] }
  | { t: "screen"; from: string; reign: Reign; screen: Screen }
  | { t: "ask"; from: string; reign: Reign; id: number; command: Command }
  | { t: "abort"; from: string; id: number }
  | { t: "answer"; to: string; id: number; result?: unknown; failure?: Failure };
