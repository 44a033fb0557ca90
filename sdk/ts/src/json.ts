import { limits } from "./protocol.gen.js";

// JSON read strictly (docs/protocol.md#strictness): two programs that read one
// line differently are a hole, and JSON.parse takes the last of two equal names,
// any depth, half surrogate pairs and U+0000.

/** What is wrong with a line. */
export class Fault extends Error {
  readonly code: "parse_error" | "invalid_utf8" | "invalid_request" | "unknown_type" | "unknown_op";

  constructor(code: Fault["code"], message: string) {
    super(message);
    this.name = "Fault";
    this.code = code;
  }
}

/** A number that is not written as the protocol writes whole numbers. */
export class OddNumber {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

/** A parsed value. Objects have no prototype. */
export type Json = null | boolean | number | string | OddNumber | Json[] | JsonObject;
export interface JsonObject {
  [name: string]: Json;
}

const special = /[\\\u0000-\u001f]/;
const halfPair = /\p{Surrogate}/u;
const number = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const blanks = /[ \t\r\n]*/y;
const hex4 = /^[0-9a-fA-F]{4}$/;
const escapes: Record<string, string> = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

class Parser {
  readonly text: string;
  /** The members of the outermost object as they are written. */
  readonly raw = new Map<string, string>();
  i = 0;
  nul = false;

  constructor(text: string) {
    this.text = text;
  }

  fail(message: string): never {
    throw new Fault("parse_error", `${message} at ${this.i}`);
  }

  space(): void {
    const c = this.text.charCodeAt(this.i);
    if (c > 0x20 || c !== c) return;
    blanks.lastIndex = this.i;
    blanks.exec(this.text);
    this.i = blanks.lastIndex;
  }

  value(depth: number): Json {
    const t = this.text;
    switch (t[this.i]) {
      case "{":
        return this.object(depth + 1);
      case "[":
        return this.array(depth + 1);
      case '"':
        return this.string();
      case "t":
        return this.word("true", true);
      case "f":
        return this.word("false", false);
      case "n":
        return this.word("null", null);
    }
    return this.number();
  }

  word<T extends Json>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.i)) this.fail("no value");
    this.i += word.length;
    return value;
  }

  number(): number | OddNumber {
    number.lastIndex = this.i;
    const m = number.exec(this.text);
    if (!m) return this.fail(this.i >= this.text.length ? "the line is cut" : "no value");
    this.i = number.lastIndex;
    const n = Number(m[0]);
    if (m[1] === undefined && m[2] === undefined && Number.isSafeInteger(n) && !Object.is(n, -0)) return n;
    return new OddNumber(n);
  }

  string(): string {
    const t = this.text;
    const from = this.i + 1;
    let end = t.indexOf('"', from);
    if (end < 0) return this.fail("a string without end");
    let s = t.slice(from, end);
    if (special.test(s)) {
      s = "";
      let i = from;
      for (let c = t[i]; c !== '"'; c = t[i]) {
        if (c === undefined) return this.fail("a string without end");
        this.i = i;
        if (c < " ") this.fail("a control character in a string");
        if (c !== "\\") {
          s += c;
          i++;
          continue;
        }
        const e = t[i + 1] ?? "";
        if (e === "u") {
          const digits = t.slice(i + 2, i + 6);
          if (!hex4.test(digits)) this.fail("an escape that is none");
          s += String.fromCharCode(parseInt(digits, 16));
          i += 6;
        } else {
          s += escapes[e] ?? this.fail("an escape that is none");
          i += 2;
        }
      }
      end = i;
      this.nul ||= s.includes("\0");
    }
    if (halfPair.test(s)) throw new Fault("invalid_utf8", `half a surrogate pair in the string at ${from - 1}`);
    this.i = end + 1;
    return s;
  }

  deep(depth: number): void {
    if (depth > limits.maxDepth) throw new Fault("invalid_request", `nested deeper than ${limits.maxDepth} at ${this.i}`);
  }

  array(depth: number): Json[] {
    this.deep(depth);
    const list: Json[] = [];
    this.i++;
    this.space();
    if (this.text[this.i] === "]") {
      this.i++;
      return list;
    }
    for (;;) {
      list.push(this.value(depth));
      this.space();
      const c = this.text[this.i];
      if (c !== "," && c !== "]") this.fail("a list goes on with a comma");
      this.i++;
      if (c === "]") return list;
      this.space();
    }
  }

  object(depth: number): JsonObject {
    this.deep(depth);
    const o = Object.create(null) as JsonObject;
    this.i++;
    this.space();
    if (this.text[this.i] === "}") {
      this.i++;
      return o;
    }
    for (;;) {
      if (this.text[this.i] !== '"') this.fail("a member begins with its name");
      const at = this.i;
      const name = this.string();
      if (name in o) throw new Fault("invalid_request", `${JSON.stringify(name)} is there twice, at ${at}`);
      this.space();
      if (this.text[this.i] !== ":") this.fail("a colon stands behind a name");
      this.i++;
      this.space();
      const from = this.i;
      o[name] = this.value(depth);
      if (depth === 1) this.raw.set(name, this.text.slice(from, this.i));
      this.space();
      const c = this.text[this.i];
      if (c !== "," && c !== "}") this.fail("an object goes on with a comma");
      this.i++;
      if (c === "}") return o;
      this.space();
    }
  }
}

/** An object read from a line, and its members as they are written. */
export interface Line {
  object: JsonObject;
  raw: ReadonlyMap<string, string>;
}

/** Reads one line, which must be one JSON object. Throws a Fault. */
export function parseLine(line: string | Uint8Array): Line {
  if (typeof line !== "string") {
    try {
      line = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(line);
    } catch {
      throw new Fault("invalid_utf8", "not UTF-8");
    }
  }
  const p = new Parser(line);
  p.space();
  const v = p.value(0);
  p.space();
  if (p.i < line.length) p.fail("something stands behind the object");
  if (typeof v !== "object" || v === null || Array.isArray(v) || v instanceof OddNumber) {
    throw new Fault("invalid_request", "a line is an object");
  }
  if (p.nul) throw new Fault("invalid_request", "U+0000 in a string");
  return { object: v, raw: p.raw };
}

/** v as JSON.parse would have it. */
export function plain(v: Json): unknown {
  if (v instanceof OddNumber) return v.value;
  if (Array.isArray(v)) return v.map(plain);
  if (typeof v !== "object" || v === null) return v;
  const o: Record<string, unknown> = {};
  for (const name of Object.keys(v)) {
    Object.defineProperty(o, name, { value: plain(v[name]!), enumerable: true, writable: true, configurable: true });
  }
  return o;
}
