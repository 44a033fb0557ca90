import { Fault, OddNumber, parseLine, plain, type Json, type JsonObject } from "./json.js";
import {
  shapes,
  type ErrorBody,
  type EventFrame,
  type Goodbye,
  type Hello,
  type ShapeName,
} from "./protocol.gen.js";

/** An answer, or a Pong. id is as it is written. */
export interface AnswerFrame {
  type: string;
  id?: string;
  op?: string;
  result?: Json;
  error?: ErrorBody;
  ignored?: string[];
}

/** What a client hears: a line of a server's. */
export type Frame =
  | { kind: "Hello"; frame: Hello }
  | { kind: "Response"; frame: AnswerFrame }
  | { kind: "Event"; frame: EventFrame }
  | { kind: "ErrorFrame"; frame: { type: string; id?: string; error: ErrorBody } }
  | { kind: "Goodbye"; frame: Goodbye }
  | { kind: "Ping"; frame: { type: string; id?: string } }
  | { kind: "Unknown"; frame: { type: string } };

interface Member {
  name: string;
  kind: string; // s, i, b, r, or a shape's name
  list: boolean;
  optional: boolean;
}

const plans = new Map<ShapeName, Member[]>();

function plan(shape: ShapeName): Member[] {
  let p = plans.get(shape);
  if (!p) {
    p = Object.entries(shapes[shape]).map(([name, code]: [string, string]) => {
      const kind = code.replace(/[^A-Za-z]+$/, "");
      return { name, kind, list: code.includes("[]"), optional: code.includes("?") };
    });
    plans.set(shape, p);
  }
  return p;
}

function wrong(where: string, due: string): never {
  throw new Fault("invalid_request", `${where}: ${due} is due`);
}

/**
 * Reads an object as a shape: members of the wrong type are a Fault, unknown ones
 * are left out, absent ones that have to be there are zero.
 */
export function decodeAs(shape: ShapeName, v: Json, where: string = shape): Record<string, unknown> {
  if (typeof v !== "object" || v === null || Array.isArray(v) || v instanceof OddNumber) wrong(where, "an object");
  const out: Record<string, unknown> = {};
  for (const m of plan(shape)) {
    const raw = (v as JsonObject)[m.name] ?? null;
    if (raw === null) {
      if (!m.optional) out[m.name] = zero(m);
    } else if (m.list) {
      if (!Array.isArray(raw)) wrong(m.name, "a list");
      out[m.name] = raw.map((x) => one(m, x));
    } else {
      out[m.name] = one(m, raw);
    }
  }
  return out;
}

function zero(m: Member): unknown {
  if (m.list) return [];
  switch (m.kind) {
    case "s":
      return "";
    case "i":
      return 0;
    case "b":
      return false;
    case "r":
      return null;
  }
  return decodeAs(m.kind as ShapeName, Object.create(null) as JsonObject);
}

function one(m: Member, v: Json): unknown {
  switch (m.kind) {
    case "s":
      return typeof v === "string" ? v : wrong(m.name, "a string");
    case "i":
      return typeof v === "number" ? v : wrong(m.name, "a whole number");
    case "b":
      return typeof v === "boolean" ? v : wrong(m.name, "true or false");
    case "r":
      return plain(v);
  }
  return decodeAs(m.kind as ShapeName, v, m.name);
}

const answers = ["SessionResponse", "DataResponse", "BroadcastResponse"];

/**
 * Reads one line as a client does: what a server sends. Members, events and frame
 * types it does not know are no error, so that servers can grow; what makes a line
 * ambiguous or unreadable throws a Fault.
 */
export function decodeFrame(line: string | Uint8Array): Frame {
  const { object: o, raw } = parseLine(line);
  const type = o["type"];
  if (typeof type !== "string") throw new Fault("invalid_request", "a frame has a type, which is a string");
  const id = raw.get("id");
  const hasError = (o["error"] ?? null) !== null;
  if (answers.includes(type)) {
    // No id and an event: pushed. Everything else answers a request.
    if (type === "BroadcastResponse" && "event" in o && id === undefined) {
      return { kind: "Event", frame: decodeAs("EventFrame", o) as unknown as EventFrame };
    }
    if ("result" in o === hasError) throw new Fault("invalid_request", "an answer has either a result or an error");
    return { kind: "Response", frame: answer(o, id) };
  }
  switch (type) {
    case "Hello":
      return { kind: "Hello", frame: decodeAs("Hello", o) as unknown as Hello };
    case "Pong":
      return { kind: "Response", frame: answer(o, id) };
    case "Ping":
      return { kind: "Ping", frame: id === undefined ? { type } : { type, id } };
    case "Error": {
      if (!hasError) throw new Fault("invalid_request", "an Error frame has an error");
      const error = decodeAs("ErrorBody", o["error"]!) as unknown as ErrorBody;
      return { kind: "ErrorFrame", frame: id === undefined ? { type, error } : { type, id, error } };
    }
    case "Goodbye":
      return { kind: "Goodbye", frame: decodeAs("Goodbye", o) as unknown as Goodbye };
  }
  return { kind: "Unknown", frame: { type } };
}

function answer(o: JsonObject, id: string | undefined): AnswerFrame {
  const { result, ...known } = decodeAs("ResponseFrame", { ...o, id: null, result: null });
  void result;
  const f = known as unknown as AnswerFrame;
  if (id !== undefined) f.id = id;
  if ("result" in o) f.result = o["result"]!;
  return f;
}

/** A frame as a line, without its end. id is written as it is. */
export function encodeFrame(frame: { type: string; id?: string }): string {
  const { type, id, ...rest } = frame;
  const tail = JSON.stringify(rest, (_, v) => (v instanceof OddNumber ? v.value : (v as unknown)));
  const head = `{"type":${JSON.stringify(type)}` + (id === undefined ? "" : `,"id":${id}`);
  return tail === "{}" ? head + "}" : head + "," + tail.slice(1);
}

const encoder = new TextEncoder();

/** How many bytes of UTF-8 a text has. */
export function utf8Length(text: string): number {
  return encoder.encode(text).length;
}

/** Whether text has no half surrogate pairs, and so can be written as UTF-8. */
export function wellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}
