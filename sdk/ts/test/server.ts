// What a server makes of a line from a client: for the vectors, and for the world.
import { decodeAs } from "../src/codec.js";
import { Fault, OddNumber, parseLine, type Json, type JsonObject } from "../src/json.js";
import { limits, operations, shapes, type ErrorCode, type Operation, type ShapeName } from "../src/protocol.gen.js";

export interface Request {
  type: string;
  id?: string;
  op?: string;
  strict?: boolean;
  params: Record<string, unknown>;
  ignored: string[];
}

export class Refusal extends Error {
  readonly code: ErrorCode;
  readonly answer: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, answer: Record<string, unknown>) {
    super(message);
    this.code = code;
    this.answer = answer;
  }
}

const answerOf: Record<string, string> = {
  SessionRequest: "SessionResponse", DataRequest: "DataResponse", BroadcastRequest: "BroadcastResponse",
};
const fromClients = [...Object.keys(answerOf), "Ping", "Pong"];
const fromServers = ["Hello", "SessionResponse", "DataResponse", "BroadcastResponse", "Error", "Goodbye"];

/** Folds a name as Unicode's simple case folding does, for what the protocol's names can be confused with. */
function fold(name: string): string {
  return name.toLowerCase().replaceAll("\u017f", "s").replaceAll("\u212a", "k");
}

export function decodeRequest(line: string | Uint8Array): Request {
  const told: Record<string, unknown> = {};
  const refuse = (code: ErrorCode, message: string): never => {
    const { type, ...rest } = told;
    const t = answerOf[type as string];
    if (t === undefined) delete rest["op"];
    throw new Refusal(code, message, { type: t ?? "Error", ...rest });
  };
  let o: JsonObject;
  let raw: ReadonlyMap<string, string>;
  try {
    ({ object: o, raw } = parseLine(line));
  } catch (err) {
    if (!(err instanceof Fault)) throw err;
    return refuse(err.code, err.message);
  }
  const bad: [ErrorCode, string][] = [];
  const wrong = (message: string, code: ErrorCode = "invalid_request"): void => void bad.push([code, message]);
  const ignored: string[] = [];
  const r: Request = { type: "", params: {}, ignored };
  for (const [name, v] of Object.entries(o)) {
    switch (name) {
      case "type":
        if (typeof v !== "string") wrong("type: a string is due");
        else if (![...fromClients, ...fromServers].includes(v)) wrong("no frame has this type", "unknown_type");
        else told["type"] = r.type = v;
        break;
      case "id":
        if (!(typeof v === "string" || typeof v === "number") || Buffer.byteLength(raw.get("id")!) > limits.maxID) wrong("id: a string or a whole number is due");
        else {
          r.id = raw.get("id")!;
          told["id"] = v;
        }
        break;
      case "op":
        if (typeof v !== "string") wrong("op: a string is due");
        else if (v === "") wrong("op is empty");
        else if (Buffer.byteLength(v) > 64) wrong("no operation has so long a name", "unknown_op");
        else told["op"] = r.op = v;
        break;
      case "params":
        if (typeof v !== "object" || v === null || Array.isArray(v) || v instanceof OddNumber) wrong("params: an object is due");
        break;
      case "strict":
        if (typeof v !== "boolean") wrong("strict: true or false is due");
        else if (v) r.strict = v;
        break;
      default:
        if (["type", "id", "op", "params", "strict"].some((k) => fold(name) === k)) wrong("a member in the wrong case");
        ignored.push(name);
    }
  }
  if (bad.length > 0) refuse(...bad[0]!);
  if (r.type === "") refuse("invalid_request", "type is missing");
  if (fromServers.includes(r.type)) refuse("unknown_type", "clients do not send this");
  const asks = r.type in answerOf;
  if (!asks) {
    if (r.op !== undefined) ignored.push("op");
    if (raw.has("params")) ignored.push("params");
    delete r.op;
  } else if (r.op === undefined) {
    refuse("invalid_request", "op is missing");
  }
  if (r.strict && ignored.length > 0) refuse("invalid_request", "unknown members");
  if (asks && r.op! in operations) params(r, (o["params"] ?? {}) as JsonObject, refuse);
  ignored.splice(limits.maxIgnored);
  r.ignored = ignored.map(cut);
  return r;
}

function cut(name: string): string {
  if (Buffer.byteLength(name) <= 64) return name;
  while (Buffer.byteLength(name) > 61) name = [...name].slice(0, -1).join("");
  return name + "\u2026";
}

function params(r: Request, given: JsonObject, refuse: (code: ErrorCode, message: string) => never): void {
  const shape = operations[r.op as Operation].params as ShapeName;
  const known: Record<string, string> = shapes[shape];
  const before = r.ignored.length;
  const values: Record<string, Json> = Object.create(null) as Record<string, Json>;
  for (const [name, v] of Object.entries(given)) {
    if (!(name in known)) {
      if (Object.keys(known).some((k) => fold(name) === k)) refuse("invalid_request", "a member in the wrong case");
      r.ignored.push(name);
    } else if (v === null && !known[name]!.endsWith("~")) {
      refuse("invalid_request", `${name}: null means nothing here`);
    } else {
      values[name] = v;
    }
  }
  for (const [name, kind] of Object.entries(known)) {
    if (!kind.includes("?") && !(name in values)) refuse("invalid_request", `${name} is missing`);
  }
  if (r.strict && r.ignored.length > before) refuse("invalid_request", "unknown members");
  try {
    r.params = decodeAs(shape, values);
  } catch (err) {
    if (!(err instanceof Fault)) throw err;
    refuse(err.code, err.message);
  }
  for (const [name, v] of Object.entries(values)) if (v === null) r.params[name] = null;
}
