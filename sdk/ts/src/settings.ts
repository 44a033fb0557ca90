import type { Config } from "./api.js";
import { limits, type ErrorBody } from "./protocol.gen.js";

/** What a session takes of a Config as it is. */
const shared = [
  "device", "agent", "lazy", "maxCatchUp", "buffer", "maxOutbox", "timeline", "heartbeatMs", "dialTimeoutMs", "minBackoffMs", "maxBackoffMs",
] as const;

/** How a session behaves: as {@link Config} says, save that by default nothing is lazy, and maxCatchUp is 0. */
export interface SessionConfig extends Pick<Config, (typeof shared)[number]> {
  /** What session.start is asked with: a token, or COOKIE. */
  login: { mechanism: "TOKEN"; token: string } | { mechanism: "COOKIE" };
  /** A random part of a time in ms. For tests. */
  jitter?: (ms: number) => number;
}

/** The same with the defaults. */
export type Settings = Required<Omit<SessionConfig, "device">> & { device: string };

/** Bounds what a server may ask for. */
export const longestWait = 3_600_000;
/** Bounds what a server may make a client keep. */
export const maxChats = 200_000;
/** Leaves room for a page and what belongs to it. */
const minBuffer = 256;

/** Fills in the defaults. */
export function settings(cfg: SessionConfig): Settings {
  const minBackoffMs = cfg.minBackoffMs || 1000;
  return {
    login: cfg.login,
    device: cfg.device ?? "",
    agent: cfg.agent || "grima-ts",
    lazy: cfg.lazy ?? false,
    maxCatchUp: cfg.maxCatchUp ?? 0,
    buffer: Math.max(cfg.buffer || 1024, minBuffer),
    maxOutbox: cfg.maxOutbox || 10_000,
    timeline: Math.min(cfg.timeline || 1, limits.maxTimeline),
    heartbeatMs: cfg.heartbeatMs || 30_000,
    dialTimeoutMs: cfg.dialTimeoutMs || 30_000,
    minBackoffMs,
    maxBackoffMs: Math.max(cfg.maxBackoffMs || 60_000, minBackoffMs),
    jitter: cfg.jitter ?? ((ms) => Math.random() * ms),
  };
}

/** Of a Config, what a Session needs. */
export function sessionConfig(c: Config): SessionConfig {
  const out: SessionConfig = {
    login: c.auth === "cookie" ? { mechanism: "COOKIE" } : { mechanism: "TOKEN", token: c.auth.token },
    lazy: c.store !== undefined,
    maxCatchUp: 2000,
  };
  for (const k of shared) if (c[k] !== undefined) Object.assign(out, { [k]: c[k] });
  return out;
}

/** How long to wait after the tries-th failure in a row: a random time, of which the bound doubles with each. */
export function backoff(cfg: Settings, tries: number): number {
  return cfg.jitter(Math.min(cfg.maxBackoffMs, cfg.minBackoffMs * 2 ** tries));
}

/** The same after a failure that may pass; what the server asked for at least. */
export function retryIn(cfg: Settings, failure: ErrorBody, tries: number): number {
  return Math.min(failure.retry_after_ms ?? 0, longestWait) + backoff(cfg, tries);
}
