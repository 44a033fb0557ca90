import type { Config } from "./api.js";
import { GrimaError } from "./errors.js";

// Servers may share the work (docs/protocol.md#roles). A client that is sent to
// another one goes there: with its connection, if it came to a server for data,
// and for a single answer, over HTTP, if it asks one for live connections for
// data. A cookie is good where it is from: such a client goes nowhere.

/** Whether a token may go there: in TLS, or within one machine. */
export function secure(cfg: Config, url: URL): boolean {
  const here = ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
  return url.protocol === "https:" || url.protocol === "wss:" || here || (cfg.insecure ?? false);
}

/** Where err sends a client with a token by one of these schemes; undefined: nowhere that it may go. */
export function misdirected(cfg: Config, err: unknown, ...schemes: string[]): URL | undefined {
  if (cfg.auth === "cookie" || !(err instanceof GrimaError) || err.code !== "misdirected" || !URL.canParse(err.url)) return undefined;
  const url = new URL(err.url);
  return schemes.includes(url.protocol) && secure(cfg, url) ? url : undefined;
}
