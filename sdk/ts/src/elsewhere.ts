import type { Config } from "./api.js";
import { decodeFrame } from "./codec.js";
import { asGrimaError, GrimaError, refused } from "./errors.js";
import { Fault } from "./json.js";
import { decodeResult, frameOf } from "./operations.js";
import type { ErrorBody } from "./protocol.gen.js";

// How the server that roles.ts names is asked. Few clients need it, so that it is
// loaded when one does.

/** Bounds what another server answers. */
const maxAnswer = 64 << 20;

/**
 * Asks the server at url, over HTTP. Errors are those of a call; what got lost on
 * the way is network, or unknown_outcome if it may not be asked twice.
 */
export async function askElsewhere(cfg: Config, url: URL, op: string, params: unknown, repeatable: boolean, signal?: AbortSignal): Promise<unknown> {
  const type = frameOf(op);
  const path = type === "BroadcastRequest" ? "/v1/broadcast" : "/v1/data";
  const init: RequestInit = {
    method: "POST",
    headers: { Authorization: `Bearer ${cfg.auth === "cookie" ? "" : cfg.auth.token}`, "Content-Type": "application/json" },
    body: JSON.stringify({ type, op, params: params ?? {} }),
    redirect: "error", // the token is for whom the server named
    credentials: "omit",
  };
  if (signal) init.signal = signal;
  try {
    const res = await fetch(url.href.replace(/\/+$/, "") + path, init);
    const text = await res.text();
    if (text.length > maxAnswer) throw new Error(`it answered more than ${maxAnswer} bytes`);
    const f = decodeFrame(text);
    if (f.kind !== "Response" || f.frame.op !== op) throw new Error(`it answered ${res.status}, and with no frame`);
    if (f.frame.error) throw refused(f.frame.error);
    return decodeResult(op, f.frame.result ?? null);
  } catch (err) {
    if (err instanceof GrimaError) throw err;
    if (signal?.aborted) throw signal.reason;
    const why = err instanceof Fault ? new Error(`it answered with no frame: ${err.message}`) : err;
    throw asGrimaError(why, repeatable ? "network" : "unknown_outcome", `asking ${url.origin}`);
  }
}

/**
 * What a server that refuses a WebSocket says of where to go; undefined: nothing.
 * A WebSocket does not tell, so it is asked without one.
 */
export async function refusedElsewhere(address: string, signal: AbortSignal): Promise<GrimaError | undefined> {
  const url = new URL(address);
  url.protocol = url.protocol === "wss:" ? "https:" : "http:";
  try {
    const res = await fetch(url, { signal, redirect: "error", credentials: "omit" });
    if (res.status !== 421) return undefined;
    const p = (await res.json()) as { detail?: unknown; code?: unknown; url?: unknown };
    if (p.code !== "misdirected" || typeof p.url !== "string") return undefined;
    const e: ErrorBody = { code: "misdirected", message: String(p.detail ?? ""), retryable: false, url: p.url };
    return refused(e, "login");
  } catch {
    return undefined; // then there is no server, which is what the WebSocket told
  }
}
