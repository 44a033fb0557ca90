import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { decodeFrame, encodeFrame } from "../src/codec.js";
import { Fault } from "../src/json.js";
import { decodeRequest, Refusal } from "./server.js";

// The vectors of protocol/testdata/vectors: what a codec makes of lines.

interface Text {
  name: string;
  line?: string;
  hex?: string;
  parts?: [string, number][];
}

const dir = process.env["GRIMA_VECTORS"] ?? new URL("../../../../protocol/testdata/vectors", import.meta.url).pathname;

function vectors<T extends Text>(file: string): T[] {
  const all = (JSON.parse(readFileSync(`${dir}/${file}`, "utf8")) as { vectors: T[] }).vectors;
  assert(all.length > 20, "there are vectors");
  return all;
}

function bytes(v: Text): Uint8Array {
  const text = (v.line ?? "") + (v.parts ?? []).map(([t, n]) => t.repeat(n)).join("");
  return Buffer.concat([Buffer.from(v.hex ?? "", "hex"), Buffer.from(text)]);
}

for (const v of vectors<Text & { kind?: string; encoded?: string; error?: string }>("frames.json")) {
  void test(`a frame: ${v.name}`, () => {
    if (v.error) {
      assert.throws(() => decodeFrame(bytes(v)), (err: unknown) => err instanceof Fault && err.code === v.error);
      return;
    }
    const f = decodeFrame(bytes(v));
    assert.equal(f.kind, v.kind);
    assert.equal(encodeFrame(f.frame), v.encoded ?? Buffer.from(bytes(v)).toString());
  });
}

interface RequestVector extends Text {
  request?: { type: string; id?: string; op?: string; strict?: boolean };
  params?: unknown;
  ignored?: string[];
  error?: string;
  answer?: unknown;
}

for (const v of vectors<RequestVector>("requests.json")) {
  void test(`a request: ${v.name}`, () => {
    if (v.error) {
      assert.throws(() => decodeRequest(bytes(v)), (err: unknown) => {
        assert(err instanceof Refusal, String(err));
        assert.equal(err.code, v.error);
        // What the answer carries is the server's business where the line is cut.
        return true;
      });
      return;
    }
    const { params, ignored, ...envelope } = decodeRequest(bytes(v));
    assert.deepEqual(envelope, v.request);
    assert.deepEqual(ignored, v.ignored ?? []);
    if (v.params !== undefined) assert.deepEqual(params, v.params);
  });
}
