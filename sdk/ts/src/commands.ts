import type { Operation } from "./protocol.gen.js";
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

/** The operations that are harmless to ask twice (docs/protocol.md#idempotency). */
const repeated = new Set<string>([
  "sync", "changes.list", "chats.list", "chats.browse", "chats.get", "participants.list", "messages.list", "messages.get",
  "users.me", "users.get", "users.list", "sessions.list", "invites.list", "presence.get", "chats.update",
  "participants.add", "participants.update", "read.set", "message.edit", "message.delete",
] satisfies Operation[]);

/** Whether a call may be asked again when its outcome is unknown. */
export function repeatable(op: string, params: unknown): boolean {
  const p = (params ?? {}) as { kind?: unknown; client_chat_id?: unknown; client_msg_id?: unknown };
  if (op === "chats.create" || op === "message.send") return p.kind === "private" || Boolean(p.client_chat_id ?? p.client_msg_id);
  return repeated.has(op);
}
