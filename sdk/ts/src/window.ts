import type { ChatWindow } from "./api.js";
import type { GrimaClient } from "./client.js";
import { GrimaError } from "./errors.js";
import { limits, type Message, type MessagesListParams } from "./protocol.gen.js";
import { rangeAround, type Range } from "./ranges.js";
import { Timeline } from "./timeline.js";
import type { Event } from "./types.js";

/** How often a page that is older than what was told is asked for again. */
const staleTries = 4;

export class Window implements ChatWindow {
  readonly chatId: string;
  readonly timeline = new Timeline();
  atStart = false;
  atEnd = false;
  readonly #client: GrimaClient;
  readonly #off: () => void;
  #listeners = new Set<() => void>();
  #messages: readonly Message[] = [];
  #old = false; // messages is to be made anew: nobody asked for it since something changed
  #at = 0; // a position in the run that is shown; 0: the present
  #shown = false; // something was loaded
  #partial = false; // what was loaded could be had better with a connection
  #gen = 0; // counts jumps: what was asked before one is of no use
  #closed = false;
  #again: ReturnType<typeof setTimeout> | undefined;

  constructor(client: GrimaClient, chatId: string) {
    this.#client = client;
    this.chatId = chatId;
    this.#off = client.onBatch((events) => this.#hear(events));
  }

  onChange(listener: () => void): () => void {
    const own = (): void => listener();
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#again);
    this.#gen++;
    this.#off();
    this.#listeners.clear();
  }

  #hear(events: readonly Event[]): void {
    let changed = false;
    let moved = false;
    let anew = false;
    const looked = this.#shown || this.#partial;
    for (const ev of events) {
      if (ev.kind === "synced") {
        anew ||= this.#partial;
        continue;
      }
      if (ev.kind !== "reset" && !("chatId" in ev && ev.chatId === this.chatId)) continue;
      changed = this.timeline.apply(ev) || changed;
      // Also what is out and in again at once, as a new leader tells it.
      if (ev.kind === "chat.added") anew = looked;
      if (ev.kind === "reset" || ev.kind === "skipped") anew = this.#shown || this.#partial;
      if (ev.kind === "chat.removed") {
        this.#shown = this.#partial = false;
        this.#at = 0;
        anew = false;
        changed = true;
      }
      // The end may have come nearer without a message.
      if ("prevSeq" in ev) moved = true;
    }
    if (anew) this.jump(this.#at).catch((err: unknown) => this.#gone(err));
    else if (changed || moved) this.#show(changed);
  }

  /** What could not be loaded again is loaded later. */
  #gone(err: unknown): void {
    this.#partial = true;
    this.#later();
    if (!(err instanceof GrimaError)) throw err;
  }

  /** Tries again, if nothing else does: the next connection may be far. */
  #later(): void {
    if (this.#closed || this.#again !== undefined) return;
    this.#again = setTimeout(() => {
      this.#again = undefined;
      if (this.#closed || !this.#partial || !this.#client.online) return;
      this.jump(this.#at).catch((err: unknown) => this.#gone(err));
    }, 1000);
  }

  /** The run that is shown. */
  get #run(): Range | undefined {
    return this.#at === 0 ? this.timeline.present : rangeAround(this.timeline.held, this.#at);
  }

  /** Where much is said and much is held, it is put together for who looks, and not for each message. */
  get messages(): readonly Message[] {
    if (this.#old) {
      this.#old = false;
      const r = this.#shown ? this.#run : undefined;
      this.#messages = r ? this.timeline.messages(this.#at === 0 ? 0 : r.from) : [];
    }
    return this.#messages;
  }

  #show(changed = true): void {
    if (this.#closed) return;
    const r = this.#shown ? this.#run : undefined;
    const atStart = r !== undefined && r.from <= 1;
    const atEnd = r !== undefined && r === this.timeline.present && r.to >= (this.#client.chat(this.chatId)?.pos ?? 0);
    if (!changed && atStart === this.atStart && atEnd === this.atEnd) return;
    this.#old ||= changed;
    this.atStart = atStart;
    this.atEnd = atEnd;
    for (const l of [...this.#listeners]) l();
  }

  async jump(seq = 0): Promise<boolean> {
    const gen = ++this.#gen;
    const p: MessagesListParams = { chat_id: this.chatId, limit: limits.defaultPage };
    if (seq > 0) p.around = seq;
    // What is held is shown at once, and what the server has of it later.
    const held = await this.#client.held(p);
    if (gen !== this.#gen) return false;
    const some = held !== undefined && (held.whole || held.page.messages.length > 0) && this.#apply(p, held.page);
    if (some) this.#look(seq);
    // That nothing was said is asked, and not believed of a store.
    this.#partial = !(some && held.whole && held.page.messages.length > 0);
    if (!this.#partial) return true;
    if (!this.#client.online) return some;
    if (!(await this.#fetch(p, gen))) {
      if (gen !== this.#gen) return false;
      this.#later();
      return some;
    }
    this.#partial = false;
    this.#look(seq);
    return true;
  }

  #look(seq: number): void {
    this.#at = seq;
    this.#shown = true;
    // The page around it is there, though no range may have it if it is beyond all.
    if (seq > 0 && !rangeAround(this.timeline.held, seq)) this.#at = 0;
    this.#show();
  }

  #apply(p: MessagesListParams, page: Parameters<Timeline["applyPage"]>[1]): boolean {
    try {
      this.timeline.applyPage(p, page);
      return true;
    } catch (err) {
      if (err instanceof GrimaError && err.reason === "stale_page") return false;
      throw err;
    }
  }

  /** Loads a page of the server's. */
  async #fetch(p: MessagesListParams, gen: number): Promise<boolean> {
    const lost = new AbortController();
    const off = this.#client.on("connection", () => {
      if (!this.#client.online) lost.abort();
    });
    try {
      for (let i = 0; i < staleTries; i++) {
        const page = await this.#client.fetchHistory(p, { signal: lost.signal });
        if (gen !== this.#gen) return false;
        if (this.#apply(p, page)) return true;
      }
    } catch (err) {
      // What is missing is loaded when the connection is back.
      if (!lost.signal.aborted) throw err;
    } finally {
      off();
    }
    return false;
  }

  /** Loads a page from the store or the server. */
  async #load(p: MessagesListParams): Promise<boolean> {
    const gen = this.#gen;
    const n = this.messages.length;
    const held = await this.#client.held(p);
    if (gen !== this.#gen) return false;
    let done = false;
    if (held && (held.whole || !this.#client.online)) done = this.#apply(p, held.page);
    if (!done && this.#client.online) done = await this.#fetch(p, gen);
    if (gen !== this.#gen) return false;
    if (!done && held) done = this.#apply(p, held.page); // the connection was lost meanwhile
    this.#show();
    return done && this.messages.length > n;
  }

  async older(limit: number = limits.defaultPage): Promise<boolean> {
    const r = this.#run;
    if (!this.#shown || !r) return await this.jump(this.#at);
    if (r.from <= 1) return false;
    return await this.#load({ chat_id: this.chatId, limit, before: r.from });
  }

  async newer(limit: number = limits.defaultPage): Promise<boolean> {
    const r = this.#run;
    if (!this.#shown || !r) return await this.jump(this.#at);
    if (this.atEnd) return false;
    return await this.#load({ chat_id: this.chatId, limit, after: r.to });
  }
}
