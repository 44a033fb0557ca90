import type { CallArgs, CallOptions, ChatWindow, Client, Config } from "./api.js";
import { alone, type Audience, type Backend, type Platform } from "./backend.js";
import { asGrimaError, GrimaError, stoppedError } from "./errors.js";
import { newId } from "./ids.js";
import { Mirror, type Snapshot } from "./mirror.js";
import { listen, visible } from "./page.js";
import { limits, type MessagesListParams, type MessagesListResult, type Operation, type Operations, type User } from "./protocol.gen.js";
import { Reader } from "./reader.js";
import { secure } from "./roles.js";
import type { Screen } from "./screens.js";
import { Tabs } from "./tabs.js";
import type { Chat, Draft, Event, EventKind, EventOf, HeldPage, Item, Store } from "./types.js";
import { Window } from "./window.js";

/**
 * Opens a client. It resolves when the store was read, not when there is a
 * connection: that is told by events, and ready waits for it. Rejects with a
 * GrimaError store.
 */
export async function open(config: Config, platform?: Platform): Promise<Client> {
  const c = new GrimaClient(config);
  await c.begin(platform ?? platformHere());
  return c;
}

/** What tabs need, if it is there. */
function platformHere(): Platform | undefined {
  const g = globalThis as { navigator?: { locks?: LockManager }; BroadcastChannel?: typeof BroadcastChannel };
  const locks = g.navigator?.locks;
  const Channel = g.BroadcastChannel;
  return locks && Channel ? { locks, channel: (name) => new Channel(name) } : undefined;
}

/** How long somebody who was looked up is remembered. */
const personTime = 600_000;
const maxPeople = 10_000;

export class GrimaClient implements Client {
  readonly #cfg: Config;
  readonly #store: Store | undefined;
  readonly #mirror = new Mirror();
  #backend: Backend | undefined;
  #listeners = new Set<(events: readonly Event[]) => void>();
  #readers = new Set<Reader>();
  #people = new Map<string, { user: User | undefined; until: number }>();
  #screen: Screen = {};
  #closed = false;
  #error: GrimaError | undefined;
  #leaveWorld: (() => void) | undefined;

  constructor(config: Config) {
    this.#cfg = config;
    this.#store = config.store;
    const url = config.url === undefined || config.auth === "cookie" ? undefined : new URL(config.url);
    if (url && !secure(config, url)) throw new TypeError(`without TLS only this machine is talked to, and not ${url.host} (Config.insecure allows it)`);
  }

  async begin(platform: Platform | undefined): Promise<void> {
    const audience: Audience = {
      tell: (events) => this.#tell(events),
      snapshot: () => this.#mirror.snapshot(),
      jump: (to) => this.#jump(to),
    };
    const drafts = await this.#store?.drafts();
    for (const [chatId, text] of drafts ?? []) this.#mirror.drafts.set(chatId, text);
    if (this.#cfg.tabs === undefined || !platform) {
      this.#backend = await alone(this.#cfg, audience);
    } else {
      const state = await this.#store?.load();
      if (state) this.#jump({ ...this.#mirror.snapshot(), epoch: state.epoch, self: state.self, chats: state.chats, outbox: state.outbox });
      this.#backend = new Tabs(this.#cfg, this.#cfg.tabs, audience, platform);
    }
    this.#joinWorld();
  }

  /** Listens to what a browser says of the network and the page. */
  #joinWorld(): void {
    this.#leaveWorld = listen(
      { online: () => this.#backend?.probe(), offline: () => this.#backend?.offline(), pageshow: () => this.#shown() },
      { visibilitychange: () => this.#shown() },
    );
  }

  #shown(): void {
    if (visible()) this.#backend?.probe();
    else this.#backend?.flush().catch(() => undefined); // the engine tells it
  }

  #jump(to: Snapshot): void {
    void this.#tell(this.#mirror.towards(to));
  }

  /** Takes events, and passes them on. */
  #tell(events: readonly Event[]): void | Promise<void> {
    const news: Event[] = [];
    for (const ev of events) {
      const told = this.#mirror.apply(ev);
      if (told) news.push(told);
      if (ev.kind === "user") this.#remember(ev.user.user_id, ev.user);
      // Of what became of people before, nothing was told.
      if (ev.kind === "synced") for (const p of this.#people.values()) p.until = 0;
      if (ev.kind === "connection") {
        const { link, error } = ev.connection;
        this.#error = link === "stopped" && error && error.reason !== "closed" ? new GrimaError(error) : undefined;
      }
    }
    if (news.length === 0) return;
    for (const l of [...this.#listeners]) {
      try {
        l(news);
      } catch (err) {
        // A listener's mistake is not the connection's.
        queueMicrotask(() => {
          throw err;
        });
      }
    }
    const full: Promise<void>[] = [];
    for (const r of this.#readers) {
      const p = r.put(news);
      if (p) full.push(p);
    }
    // What stopped tells nothing more: whoever reads would wait for ever.
    if (this.connection.link === "stopped") for (const r of [...this.#readers]) void r.return();
    if (full.length > 0) return Promise.all(full).then(() => undefined);
  }

  // What it knows.

  get self(): User | undefined {
    return this.#mirror.self;
  }

  get hello() {
    return this.#mirror.hello;
  }

  get connection() {
    return this.#mirror.connection;
  }

  get leader(): boolean {
    return this.#backend?.leader ?? false;
  }

  get error(): GrimaError | undefined {
    return this.#error;
  }

  chats(): Chat[] {
    return this.#mirror.list();
  }

  chat(chatId: string): Chat | undefined {
    return this.#mirror.chats.get(chatId);
  }

  outbox(chatId?: string): Item[] {
    const all = [...this.#mirror.outbox.values()];
    return chatId === undefined ? all : all.filter((it) => it.chatId === chatId);
  }

  presence(userId: string): string | undefined {
    return this.#mirror.presence.get(userId);
  }

  draft(chatId: string): string {
    return this.#mirror.drafts.get(chatId) ?? "";
  }

  user(id: string): User | undefined {
    return this.#people.get(id)?.user;
  }

  // What it tells.

  on(kind: EventKind | "*", listener: (ev: never) => void): () => void {
    return this.onBatch((events) => {
      for (const ev of events) if (kind === "*" || ev.kind === kind) listener(ev as never);
    });
  }

  onBatch(listener: (events: readonly Event[]) => void): () => void {
    const own = (events: readonly Event[]): void => listener(events);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  events(options: CallOptions = {}): AsyncIterableIterator<Event> {
    const { signal } = options;
    const end = (): void => void r.return();
    const r = new Reader(() => {
      this.#readers.delete(r);
      signal?.removeEventListener("abort", end); // it may be that of many
    });
    if (this.#closed || this.connection.link === "stopped" || signal?.aborted) end();
    else {
      this.#readers.add(r);
      signal?.addEventListener("abort", end);
    }
    return r;
  }

  async ready(options: CallOptions = {}): Promise<void> {
    await this.#until(() => {
      this.#check();
      return this.connection.link === "online";
    }, options.signal);
  }

  /** Waits until something that events change is so. */
  #until(so: () => boolean, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        off();
        this.#ending.delete(look);
        signal?.removeEventListener("abort", abort);
      };
      const abort = (): void => {
        end();
        reject(signal!.reason as Error);
      };
      const look = (): void => {
        try {
          if (!so()) return;
          resolve();
        } catch (err) {
          reject(err as Error);
        }
        end();
      };
      const off = this.onBatch(look);
      this.#ending.add(look);
      if (signal?.aborted) return abort();
      signal?.addEventListener("abort", abort);
      look();
    });
  }
  #ending = new Set<() => void>();

  /** Throws when there is nothing to wait for any more. */
  #check(): void {
    if (this.#closed) throw new GrimaError({ reason: "closed", message: "the client is closed" });
    if (this.connection.link === "stopped") throw stoppedError(this.#error ?? new GrimaError({ reason: "closed", message: "the client is closed" }));
  }

  // What it does.

  get #b(): Backend {
    if (this.#closed || !this.#backend) throw new GrimaError({ reason: "closed", message: "the client is closed" });
    return this.#backend;
  }

  async call<O extends Operation>(op: O, ...args: CallArgs<O>): Promise<Operations[O]["result"]> {
    let params = (args[0] ?? {}) as Record<string, unknown>;
    // What is made gets a key, so that it is made once.
    if (op === "chats.create" && params["kind"] === "group" && !params["client_chat_id"]) params = { ...params, client_chat_id: newId() };
    if (op === "message.send" && !params["client_msg_id"]) params = { ...params, client_msg_id: newId() };
    const result = await this.#b.request({ do: "call", op, params }, args[1]?.signal);
    const user = (result as { user?: User }).user;
    if ((op === "users.me" || op === "users.update") && user) {
      this.#keepUsers([user]);
      if (user.user_id === this.self?.user_id) this.#share({ kind: "self", user });
    }
    return result as Operations[O]["result"];
  }

  /** Tells something here and in other tabs. */
  #share(ev: Event): void {
    void this.#tell([ev]);
    this.#backend?.relay([ev]);
  }

  async queue(draft: Draft): Promise<Item> {
    return (await this.#b.request({ do: "queue", draft: { ...draft, id: draft.id ?? newId() } })) as Item;
  }

  async send(draft: Draft, options: CallOptions = {}): Promise<Item> {
    const id = draft.id ?? newId();
    let last: Item | undefined;
    const off = this.on("outbox", (ev: EventOf<"outbox">) => {
      if (ev.item.id === id) last = ev.item;
    });
    try {
      options.signal?.throwIfAborted();
      const it = await this.queue({ ...draft, id });
      last ??= this.#mirror.sent.get(id) ?? it; // of one that was sent, or had failed before, nothing is told
      await this.#until(() => {
        if (last && last.progress !== "pending") return true;
        this.#check();
        return false;
      }, options.signal);
    } finally {
      off();
    }
    const it = last!;
    if (it.progress === "sent") return it;
    if (it.progress === "discarded") throw new GrimaError({ reason: "discarded", message: "the message was taken out of the outbox" });
    const e = it.error ?? { code: "internal", message: "the message was not sent", retryable: false };
    throw new GrimaError({ reason: "refused", code: e.code, message: e.message });
  }

  async retry(id: string): Promise<void> {
    await this.#b.request({ do: "retry", id });
  }

  async discard(id: string): Promise<boolean> {
    return (await this.#b.request({ do: "discard", id })) as boolean;
  }

  async setDraft(chatId: string, text: string): Promise<void> {
    if (text === this.draft(chatId)) return;
    this.#share({ kind: "draft", chatId, text });
    await this.#store?.setDraft(chatId, text);
  }

  /** Asks for what may get lost. */
  #fire(c: Parameters<Backend["request"]>[0]): void {
    this.#backend?.request(c).catch(() => undefined); // it is said again, or of no use any more
  }

  markRead(chatId: string, seq: number): void {
    this.#fire({ do: "markRead", chatId, seq });
  }

  typing(chatId: string, stop = false): void {
    this.#fire({ do: "typing", chatId, stop });
  }

  focus(...chatIds: string[]): void {
    this.#show({ focus: chatIds });
  }

  active(active: boolean): void {
    if (this.#screen.active !== active) this.#show({ active });
  }

  watchPresence(userIds: readonly string[]): void {
    this.#show({ watch: [...userIds] });
  }

  #show(s: Screen): void {
    this.#screen = { ...this.#screen, ...s };
    this.#backend?.screen(this.#screen);
  }

  reconnect(): void {
    this.#fire({ do: "reconnect" });
  }

  // History and people.

  async history(p: MessagesListParams, options: CallOptions = {}): Promise<MessagesListResult> {
    const held = await this.held(p);
    if (held && (held.whole || !this.online)) return held.page;
    return await this.fetchHistory(p, options);
  }

  /** Whether calls go out now. */
  get online(): boolean {
    return this.connection.link === "online" || this.connection.link === "syncing";
  }

  /** What the store has of a page; undefined: nothing is known. */
  async held(p: MessagesListParams): Promise<HeldPage | undefined> {
    const anchors = ["chat_id", "limit", "before", "after", "around"];
    if (!this.#store || Object.keys(p).some((k) => !anchors.includes(k))) return undefined;
    try {
      await this.#backend?.flush();
      return await this.#store.page(p);
    } catch (err) {
      unusable("what is kept of a chat is not read", err);
      return undefined;
    }
  }

  /** A page of the server's, which the store then keeps. */
  async fetchHistory(p: MessagesListParams, options: CallOptions = {}): Promise<MessagesListResult> {
    const joined = this.chat(p.chat_id)?.joined_seq ?? 0;
    const page = await this.call("messages.list", p, options);
    const now = this.chat(p.chat_id);
    if (this.#store && now && (now.joined_seq ?? 0) === joined) {
      try {
        await this.#backend?.flush(); // of a chat that it does not know it takes no page
        await this.#store.putPage(p, page, joined);
      } catch (err) {
        unusable("a page is not kept", err);
      }
    }
    return page;
  }

  window(chatId: string): ChatWindow {
    return new Window(this, chatId);
  }

  async users(ids: Iterable<string>, options: CallOptions = {}): Promise<Map<string, User>> {
    const found = new Map<string, User>();
    const missing: string[] = [];
    for (const id of new Set(ids)) {
      const p = this.#people.get(id);
      if (!p || Date.now() > p.until) missing.push(id);
      else if (p.user) found.set(id, p.user);
    }
    if (missing.length > 0 && !this.online && this.#store) {
      for (const u of await this.#store.users(missing)) {
        found.set(u.user_id, u);
        if (!this.#people.has(u.user_id)) this.#remember(u.user_id, u, 0);
      }
      return found;
    }
    for (let i = 0; i < missing.length; i += limits.maxPage) {
      const user_ids = missing.slice(i, i + limits.maxPage);
      const users: User[] = [];
      for (let cursor: string | undefined; ; ) {
        const p = { user_ids, limit: limits.maxPage };
        const r = await this.call("users.list", cursor === undefined ? p : { ...p, cursor }, options);
        users.push(...r.users);
        if (!r.has_more || users.length > user_ids.length) break;
        cursor = r.cursor;
      }
      const there = new Set(users.map((u) => u.user_id));
      for (const id of user_ids) if (!there.has(id)) this.#remember(id, undefined);
      this.#keepUsers(users);
      for (const u of users) found.set(u.user_id, u);
    }
    return found;
  }

  /** Remembers somebody, or that there is nobody; of too many those that were heard of last. */
  #remember(id: string, user: User | undefined, until = Date.now() + personTime): void {
    this.#people.delete(id);
    this.#people.set(id, { user, until });
    if (this.#people.size <= maxPeople) return;
    for (const oldest of this.#people.keys()) return void this.#people.delete(oldest);
  }

  #keepUsers(users: readonly User[]): void {
    for (const u of users) this.#remember(u.user_id, u);
    this.#store?.putUsers(users).catch((err: unknown) => unusable("people's names are not kept", err));
  }

  async close(options: { forget?: boolean } = {}): Promise<void> {
    if (this.#closed) return;
    this.#leaveWorld?.();
    // Who closes from within its own reader does not read on meanwhile.
    for (const r of this.#readers) r.hurry();
    await this.#backend?.close();
    this.#closed = true;
    for (const look of [...this.#ending]) look();
    for (const r of [...this.#readers]) void r.return();
    this.#listeners.clear();
    try {
      if (options.forget) await this.#store?.clear();
    } finally {
      this.#store?.close();
    }
  }
}

/** Says that the store failed at something that can be had, or done, without it. */
function unusable(what: string, err: unknown): void {
  console.warn(`grima: ${what}:`, asGrimaError(err, "store", "").message);
}
