/**
 * The TypeScript SDK of Grima (docs/protocol.md): conversations in a program, with
 * the whole promise of delivery kept for it, in browsers and in Node.
 *
 * open makes a {@link Client}: it dials, logs in, comes back after whatever
 * happened, and catches up on what it missed. Beneath it is {@link Session}, the
 * same without clock or network: lines go in, lines and events come out.
 */
export * from "./api.js";
export { type Channel, type Platform } from "./backend.js";
export { open } from "./client.js";
export { decodeFrame, encodeFrame, type AnswerFrame, type Frame } from "./codec.js";
export { GrimaError, type Failure, type Reason } from "./errors.js";
export { Fault } from "./json.js";
export * from "./protocol.gen.js";
export { addRange, hasPosition, rangeAround, removeRange, type Range, type Ranges } from "./ranges.js";
export { newId } from "./ids.js";
export { Roster } from "./roster.js";
export { Session, type Answer, type SessionConfig } from "./session.js";
export { indexedDBStore, memoryStore } from "./store.js";
export { pageRange, Timeline } from "./timeline.js";
export * from "./types.js";
