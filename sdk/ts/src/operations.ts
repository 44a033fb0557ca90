import { decodeAs } from "./codec.js";
import { broke } from "./errors.js";
import { Fault, plain, type Json } from "./json.js";
import { operations, type FrameType, type Operation } from "./protocol.gen.js";

// What the table of operations says of one, which may be unknown here.

/** Reads a result; of an operation that is not known as it is. */
export function decodeResult(op: string, result: Json): unknown {
  if (!Object.hasOwn(operations, op)) return plain(result);
  try {
    return decodeAs(operations[op as Operation].result, result);
  } catch (err) {
    if (err instanceof Fault) throw broke("a result of the wrong shape: " + err.message);
    throw err;
  }
}

/** The frame that an operation goes in (docs/protocol.md#operations). */
export function frameOf(op: string): FrameType {
  switch (op.split(".", 1)[0]) {
    case "session":
      return "SessionRequest";
    case "message":
    case "reaction":
    case "typing":
      return "BroadcastRequest";
  }
  return "DataRequest";
}

/** Whether a call may be asked again when its outcome is unknown (docs/protocol.md#idempotency). */
export function repeatable(op: string, params: unknown): boolean {
  if (!Object.hasOwn(operations, op)) return false;
  const { repeats } = operations[op as Operation];
  if (typeof repeats === "boolean") return repeats;
  const p = (params ?? {}) as Record<string, unknown>;
  return Boolean(p[repeats]) || (op === "chats.create" && p["kind"] === "private"); // there is one per pair
}
