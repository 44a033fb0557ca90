import type { ErrorBody } from "./protocol.gen.js";

/** Why something failed, see {@link GrimaError.reason}. */
export type Reason =
  /** The server refused a request; code is one of errorCodes. */
  | "refused"
  /** The server does not take the token or cookie (any more): log in anew. code is one of errorCodes. */
  | "login"
  /** The server ended the connection; code is one of goodbyeCodes. */
  | "goodbye"
  /** The server broke the protocol. */
  | "server"
  /** There is no network, or no server. */
  | "network"
  /** The client was closed, or stopped for good. */
  | "closed"
  /** There is no connection, and the call makes no sense later. */
  | "offline"
  /**
   * The connection was lost after a write was sent and before its answer came,
   * and asking again might do it twice.
   */
  | "unknown_outcome"
  /** Config.maxOutbox drafts wait already. */
  | "outbox_full"
  /** Somebody took the message out of the outbox. */
  | "discarded"
  /** The store belongs to another user. */
  | "other_user"
  /** The page is older than changes that are lost: ask again. */
  | "stale_page"
  /** The store failed. */
  | "store";

/** An error as plain data, for a store and other tabs. */
export interface Failure {
  reason: Reason;
  message: string;
  code?: string;
  retryable?: boolean;
  retryAfterMs?: number;
  /** Of goodbye: whether the server invites the client back. */
  reconnect?: boolean;
  /** Of misdirected: which server serves it, as far as the server said. */
  url?: string;
}

/** The error of everything in this package. Programs look at reason and code. */
export class GrimaError extends Error {
  readonly reason: Reason;
  /** A code of the protocol's errors or goodbyes; else the reason again. */
  readonly code: string;
  /** Whether the very same may succeed later. */
  readonly retryable: boolean;
  /** How long to wait before that, as far as the server said; else 0. */
  readonly retryAfterMs: number;
  /** Of goodbye: whether the server invites the client back. */
  readonly reconnect: boolean;
  /** Of misdirected: which server serves it (docs/protocol.md#roles); else "". */
  readonly url: string;

  constructor(f: Failure, options?: ErrorOptions) {
    super(f.message, options);
    this.name = "GrimaError";
    this.reason = f.reason;
    this.code = f.code ?? f.reason;
    this.retryable = f.retryable ?? false;
    this.retryAfterMs = f.retryAfterMs ?? 0;
    this.reconnect = f.reconnect ?? false;
    this.url = f.url ?? "";
  }

  /** The error as plain data. */
  toFailure(): Failure {
    const f: Failure = { reason: this.reason, message: this.message, code: this.code };
    if (this.retryable) f.retryable = true;
    if (this.retryAfterMs > 0) f.retryAfterMs = this.retryAfterMs;
    if (this.reconnect) f.reconnect = true;
    if (this.url !== "") f.url = this.url;
    return f;
  }
}

/** What the server refused. */
export function refused(e: ErrorBody, reason: "refused" | "login" = "refused"): GrimaError {
  const f: Failure = { reason, code: e.code, message: e.message, retryable: e.retryable };
  if (e.retry_after_ms) f.retryAfterMs = e.retry_after_ms;
  if (e.url) f.url = e.url;
  return new GrimaError(f);
}

/** The server broke the protocol. */
export function broke(message: string): GrimaError {
  return new GrimaError({ reason: "server", message: "the server broke the protocol: " + message });
}

/** The same for what is thrown by others. */
export function asGrimaError(err: unknown, reason: Reason, doing: string): GrimaError {
  if (err instanceof GrimaError) return err;
  const message = err instanceof Error ? err.message : String(err);
  return new GrimaError({ reason, message: doing ? doing + ": " + message : message }, { cause: err });
}

/** Whether a store refused something since another tab has taken it. */
export function taken(err: unknown): boolean {
  return err instanceof GrimaError && err.code === "taken";
}

/** Whether err is a reason not to come back. */
export function permanent(err: GrimaError): boolean {
  switch (err.reason) {
    case "goodbye":
      return !err.reconnect;
    case "login":
    case "other_user":
    case "closed":
      return true;
  }
  return false;
}

/** What a call gets when the client has stopped. */
export function stoppedError(why: GrimaError): GrimaError {
  return permanent(why) || why.reason === "store" ? why : new GrimaError({ reason: "closed", message: "the client is closed" });
}
