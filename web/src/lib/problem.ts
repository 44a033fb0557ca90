import { t } from "./strings.ts";

/** What went wrong with a request, as the server or the network tells it. */
export class Failure extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly retryAfterMs = 0,
  ) {
    super(message);
  }
}

/** The code of an error, "" if it has none. */
export function codeOf(e: unknown): string {
  const code = (e as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "";
}

/** A sentence for a person. */
export function problem(e: unknown): string {
  switch (codeOf(e)) {
    case "offline":
      return t.err.offline;
    case "permission_denied":
      return t.err.denied;
    case "not_found":
      return t.err.notFound;
    case "rate_limited":
      return t.err.limited;
    case "store":
      return t.err.full;
    case "":
    case "internal":
    case "unavailable":
    case "timeout":
      return t.err.other;
    default: {
      // The server's sentences are for people; a capital and a full stop make them so.
      const m = (e as { message?: string }).message ?? "";
      return m ? m[0]!.toUpperCase() + m.slice(1) + (/[.!?]$/.test(m) ? "" : ".") : t.err.other;
    }
  }
}
