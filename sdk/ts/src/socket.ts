import type { WebSocketConstructor } from "./api.js";
import { GrimaError } from "./errors.js";
import { goodbyeCodes } from "./protocol.gen.js";

/** Why a WebSocket was closed. */
export function closed(code: number, reason: string): GrimaError {
  if (code >= 4000 && code < 5000) {
    // The Goodbye got lost, or was never there.
    const name = Object.entries(goodbyeCodes).find(([, n]) => n === code)?.[0] ?? String(code);
    const message = `the server said goodbye: ${reason || name}`;
    return new GrimaError({ reason: "goodbye", code: name, message, reconnect: code < 4500 });
  }
  return new GrimaError({ reason: "network", message: `the connection ended (${code}${reason ? ": " + reason : ""})` });
}

/** The address of the WebSocket. */
export function address(url: string | undefined): string {
  const base = (globalThis as { location?: { href: string } }).location?.href;
  if (url === undefined && base === undefined) throw new TypeError("outside of a page a client needs the url of its server");
  const u = new URL(url ?? "/v1/ws", base);
  u.protocol = { "http:": "ws:", "https:": "wss:" }[u.protocol] ?? u.protocol;
  if (u.protocol !== "ws:" && u.protocol !== "wss:") throw new TypeError(`the server's address begins with https or wss, and not ${u.protocol}`);
  if (u.pathname === "/" || u.pathname === "") u.pathname = "/v1/ws";
  u.hash = "";
  return u.href;
}

/** The WebSocket of where this runs. */
export function globalSocket(): WebSocketConstructor {
  const ws = (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  if (!ws) throw new TypeError("there is no WebSocket here: give Config.WebSocket one, as of the package ws");
  return ws;
}
