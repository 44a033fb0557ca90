import { operations, type Operation } from "./protocol.gen.js";
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

/** Whether a call may be asked again when its outcome is unknown (docs/protocol.md#idempotency). */
export function repeatable(op: string, params: unknown): boolean {
  if (!Object.hasOwn(operations, op)) return false;
  const { repeats } = operations[op as Operation];
  if (typeof repeats === "boolean") return repeats;
  const p = (params ?? {}) as Record<string, unknown>;
  return Boolean(p[repeats]) || (op === "chats.create" && p["kind"] === "private"); // there is one per pair
}
