// Who is logged in: over HTTP, as the cookie is HTTP's. The page never sees the
// session's token.
import type { Operations } from "@grima/sdk";
import { Failure } from "./problem.ts";

export type Session = Operations["session.start"]["result"];

export async function http<T>(method: string, path: string, body?: unknown): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      credentials: "same-origin",
      cache: "no-store",
      ...(body === undefined
        ? {}
        : body instanceof Blob
          ? { body, headers: { "Content-Type": body.type } }
          : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
    });
  } catch {
    throw new Failure("offline", "no connection");
  }
  const data = (await answer.json().catch(() => null)) as (T & { code?: string; detail?: string; retry_after_ms?: number }) | null;
  if (!answer.ok || data === null) {
    const wait = data?.retry_after_ms ?? Number(answer.headers.get("Retry-After") ?? 0) * 1000;
    throw new Failure(data?.code ?? (answer.status >= 502 ? "offline" : "internal"), data?.detail ?? answer.statusText, wait);
  }
  return data;
}

/** The session of the cookie; null: there is none (any more). */
export async function whoAmI(): Promise<Session | null> {
  try {
    return await http<Session>("POST", "/v1/sessions", { mechanism: "COOKIE" });
  } catch (e) {
    if (e instanceof Failure && ["unauthenticated", "token_expired", "permission_denied", "invalid_request"].includes(e.code)) return null;
    throw e;
  }
}

export function logIn(username: string, password: string): Promise<Session> {
  return http("POST", "/v1/sessions", { mechanism: "PLAIN", username: username.trim(), password, device: device(), client: "web/1", cookie: true });
}

export function register(username: string, password: string, name: string, invite: string): Promise<unknown> {
  return http("POST", "/v1/users", {
    username: username.trim(),
    password,
    ...(name.trim() ? { name: name.trim() } : {}),
    ...(invite.trim() ? { invite: invite.trim() } : {}),
  });
}

export async function logOut(): Promise<void> {
  try {
    await http("DELETE", "/v1/sessions/current");
  } catch (e) {
    if (!(e instanceof Failure) || e.code !== "unauthenticated") throw e;
  }
}

// "Firefox on Linux": what the list of devices shows.
function device(): string {
  const ua = navigator.userAgent;
  const browser = /Edg\//.test(ua) ? "Edge" : /Firefox\//.test(ua) ? "Firefox" : /Chrom(e|ium)\//.test(ua) ? "Chrome" : /Safari\//.test(ua) ? "Safari" : "Browser";
  const system = /Android/.test(ua) ? "Android" : /iPhone|iPad/.test(ua) ? "iOS" : /Mac OS/.test(ua) ? "macOS" : /Windows/.test(ua) ? "Windows" : /Linux/.test(ua) ? "Linux" : "";
  return system ? `${browser} on ${system}` : browser;
}
