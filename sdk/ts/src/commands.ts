import type { Screen } from "./screens.js";
import type { Draft } from "./types.js";

/** What is asked of whoever has the connection. It is data: it may come from another tab. */
export type Command =
  | { do: "call"; op: string; params: unknown }
  | { do: "queue"; draft: Draft }
  | { do: "retry" | "discard"; id: string; again?: true } // again: it may have been done already
  | { do: "markRead"; chatId: string; seq: number }
  | { do: "typing"; chatId: string; stop: boolean }
  | { do: "screen"; screen: Screen }
  | { do: "reconnect" };
