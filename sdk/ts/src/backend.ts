import type { Config } from "./api.js";
import type { Command } from "./commands.js";
import { Engine } from "./engine.js";
import { snapshotOf, type Snapshot } from "./mirror.js";
import type { Screen } from "./screens.js";
import { Session } from "./session.js";
import { sessionConfig } from "./settings.js";
import type { Event } from "./types.js";

/** What tabs need of the platform. */
export interface Platform {
  locks: Pick<LockManager, "request">;
  channel: (name: string) => Channel;
}

/** A BroadcastChannel. */
export interface Channel {
  onmessage: ((ev: MessageEvent) => void) | null;
  postMessage(message: unknown): void;
  close(): void;
}

/** What a client's backend tells it. */
export interface Audience {
  /** Events, in order; the promise is waited for before more is told. */
  tell(events: readonly Event[]): void | Promise<void>;
  /** What it was told, as a whole. */
  snapshot(): Snapshot;
  /** From here on it is told from another point: what leads there? */
  jump(to: Snapshot): void;
}

/** Whoever carries out what a client asks. */
export interface Backend {
  readonly leader: boolean;
  request(c: Command, signal?: AbortSignal): Promise<unknown>;
  screen(s: Screen): void;
  /** Tells other tabs of something that is no business of the connection. */
  relay(events: readonly Event[]): void;
  probe(): void;
  offline(): void;
  /** Waits until the store has what was told here; of another tab's telling nothing is known. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

const self = "self";

/** A backend of this client alone. */
export async function alone(cfg: Config, audience: Audience): Promise<Backend> {
  const state = await cfg.store?.load();
  if (state) audience.jump(snapshotOf(state));
  const engine = new Engine(cfg, new Session(sessionConfig(cfg), state), (evs) => audience.tell(evs));
  engine.start();
  return {
    leader: true,
    request: (c, signal) => engine.request(c, self, signal),
    screen: (s) => engine.setScreen(self, s),
    relay: () => undefined,
    probe: () => engine.probe(),
    offline: () => engine.offline(),
    flush: () => engine.flush(),
    close: () => engine.close(),
  };
}
