// What the whole page knows: who is here, how the connection stands, the chats, and
// where one is. It hears the SDK's events in batches and tells Svelte once a frame.
import { SvelteMap } from "svelte/reactivity";
import { indexedDBStore, limits, open, type CallArgs, type Chat as SDKChat, type Client, type Event, type Item, type Operation, type Operations, type Store, type User } from "@grima/sdk";
import { logOut, type Session, whoAmI } from "./account.ts";
import { type Begun, Conversation } from "./conversation.svelte.ts";
import { keep, kept, unkeep } from "./device.ts";
import { plain } from "./markdown.ts";
import { notifyOf } from "./notify.ts";
import { Failure } from "./problem.ts";
import { itemMsg, type Msg, rowMsg } from "./rows.ts";
import { forgetSettings } from "./settings.svelte.ts";
import { t } from "./strings.ts";

/** A chat in the list: the SDK's, and what was said last. */
export interface Chat extends SDKChat {
  last?: Msg | undefined;
}

export type Panel = "settings" | "keys" | "switcher" | "new" | "browse" | null;
/** How often the list of chats and the title are made anew at most, in ms. */
const listEvery = 150;
/** How often what comes is said to who listens to the page, in ms. */
const sayEvery = 400;
const knownKey = "grima.known"; // that somebody is logged in here: whether to begin with the cache

class App {
  /** start: not known yet; out: the login page. */
  stage = $state<"start" | "out" | "in">("start");
  /** The session was ended from elsewhere. */
  ended = $state(false);
  self = $state.raw<User | undefined>(undefined);
  chats = $state.raw<Chat[]>([]);
  status = $state<"online" | "connecting" | "syncing" | "offline">("connecting");
  synced = $state(false);
  queued = $state(0);
  chatId = $state("");
  conversation = $state.raw<Conversation | null>(null);
  panel = $state<Panel>(null);
  details = $state(false);
  looking = $state(document.visibilityState === "visible" && document.hasFocus());
  toastText = $state("");
  liveText = $state("");
  /** Changes to the new version of this page that is ready; null: there is none. */
  update = $state.raw<(() => void) | null>(null);
  /** Called when the connection is back. */
  onback: (() => void) | undefined;
  storageFailed = $state(false);
  /** How many bytes a message may have, as the server says. */
  maxContent = $state<number>(limits.maxContent);
  path = $state(location.pathname);

  readonly users = new SvelteMap<string, User>();
  readonly presence = new SvelteMap<string, string>();
  readonly drafts = new SvelteMap<string, { text: string }>();
  readonly typing = new SvelteMap<string, readonly string[]>();
  /** Edits and replies that were begun in a chat before another was opened. */
  readonly begun = new Map<string, Begun>();
  readonly touch = matchMedia("(hover: none) and (pointer: coarse)").matches;

  client: Client | null = null;
  #leaving = false;
  #unkept = false; // it was said
  #lost = false; // chats have to be made anew
  #old = false; // chats are to be made anew when it is time
  #listed = 0; // when they were
  #listing: ReturnType<typeof setTimeout> | undefined;
  #frame: number | undefined;
  #dirty = false;
  #views = new Map<string, { chat: SDKChat; item: Item | undefined; view: Chat }>();
  #wanted = new Set<string>();
  #asked = new Set<string>();
  #wanting = false;
  #typers = new Map<string, Map<string, ReturnType<typeof setTimeout>>>();

  get online(): boolean {
    return this.status === "online" || this.status === "syncing";
  }

  /** Begins: with the cache if somebody was logged in here, else by asking the server. */
  async start(): Promise<void> {
    this.#listen();
    const known = kept(knownKey);
    try {
      if (known) return await this.#begin();
      const session = await whoAmI();
      if (session) await this.enter(session);
      else this.stage = "out";
    } catch {
      this.stage = "out";
    }
  }

  #entering: Promise<void> | undefined;
  /** Goes in after a login. Who does so in two tabs at once is in each of them once. */
  async enter(session: Session): Promise<void> {
    if (this.client) return this.#setSelf(session.user);
    if (["/login", "/join"].includes(location.pathname)) history.replaceState(null, "", "/");
    this.self = session.user;
    this.users.set(session.user.user_id, session.user);
    await (this.#entering ??= this.#begin().finally(() => (this.#entering = undefined)));
  }

  // Goes in after a login in another tab.
  async #follow(): Promise<void> {
    const session = await whoAmI().catch(() => undefined); // the form is there still
    if (session && this.stage === "out") await this.enter(session);
  }

  async #begin(): Promise<void> {
    let store: Store | undefined;
    try {
      store = await indexedDBStore("grima");
    } catch {
      this.storageFailed = true;
    }
    const config = { auth: "cookie", agent: "web/1", otherUser: "forget" } as const;
    const client = await (store ? open({ ...config, store, tabs: "grima" }) : open(config)).catch((err: unknown) => {
      if (!store) throw err;
      this.storageFailed = true; // what is kept cannot be read
      return open(config);
    });
    this.client = client;
    keep(knownKey, "1"); // else the next start asks the server first
    client.onBatch((events) => this.#hear(events));
    this.#setSelf(client.self);
    this.#lost = true;
    this.#link();
    this.#update();
    this.ended = false;
    this.stage = "in";
    client.active(this.looking);
    this.route();
  }

  #listen(): void {
    const look = () => {
      this.looking = document.visibilityState === "visible" && document.hasFocus();
      this.client?.active(this.looking);
    };
    document.addEventListener("visibilitychange", look);
    window.addEventListener("focus", look);
    window.addEventListener("blur", look);
    window.addEventListener("online", () => this.client?.reconnect());
    window.addEventListener("popstate", () => this.route());
    // Who logs in in one tab is in in all, but for one that makes another account.
    window.addEventListener("storage", (e) => {
      if (e.key === knownKey && e.newValue && this.stage === "out" && location.pathname !== "/join") void this.#follow();
    });
    // A page that the browser kept whole may show what was signed out of since.
    window.addEventListener("pageshow", (e) => {
      if (e.persisted) location.reload();
    });
  }

  /** Signs out: the session, and all that this device keeps. */
  async leave(): Promise<void> {
    this.#leaving = true;
    try {
      await logOut();
      await this.#out(false);
    } finally {
      this.#leaving = false;
    }
    history.replaceState(null, "", "/login");
    this.path = "/login";
  }

  async #out(ended: boolean): Promise<void> {
    const client = this.client;
    if (!client) return;
    this.client = null;
    this.stage = "out";
    this.ended = ended;
    this.conversation?.close();
    this.conversation = null;
    this.chatId = "";
    this.chats = [];
    this.self = undefined;
    this.panel = null;
    this.details = false;
    this.synced = false;
    this.liveText = this.toastText = "";
    this.#unsaid = [];
    this.#watched = "";
    this.queued = 0;
    this.#views.clear();
    this.#asked.clear();
    for (const m of [this.users, this.presence, this.drafts, this.typing, this.begun]) m.clear();
    document.title = t.app;
    unkeep(knownKey);
    forgetSettings();
    try {
      await client.close({ forget: true });
    } catch {
      // What could not be emptied is another user's to be forgotten at the next login.
    }
  }

  // --- What is heard

  #hear(events: readonly Event[]): void {
    for (const ev of events) {
      switch (ev.kind) {
        case "connection":
          // Who is there is told anew with each connection.
          if (ev.connection.link !== "online") this.presence.clear();
          this.#link();
          continue;
        case "self":
          this.#setSelf(ev.user);
          continue;
        case "user":
          if (this.users.has(ev.user.user_id)) this.learn([ev.user]);
          break;
        case "hello":
          this.maxContent = ev.hello.limits.max_content;
          continue;
        case "presence":
          this.presence.set(ev.userId, ev.status);
          continue;
        case "draft":
          if (ev.text) this.drafts.set(ev.chatId, { text: ev.text });
          else this.drafts.delete(ev.chatId);
          this.conversation?.drafted(ev.chatId, ev.text);
          continue;
        case "typing":
          this.#typed(ev.chatId, ev.userId, ev.stopped ? 0 : ev.until);
          continue;
        case "synced":
          this.synced = true;
          this.#refresh();
          break;
        case "reset":
          this.#views.clear();
          break;
        case "outbox":
          this.conversation?.outbox(ev.item);
          break;
        case "read":
          this.conversation?.readBy(ev.chatId, ev.userId, ev.readSeq);
          this.#old = true;
          continue;
        case "message.created":
          this.#typed(ev.chatId, ev.message.sender_id, 0);
          notifyOf(this, ev);
          this.#old = true;
          continue;
        case "chat.state":
          this.#old = true;
          continue;
        case "participant.added":
        case "participant.updated":
        case "participant.removed":
          if (ev.kind === "participant.removed") this.#typed(ev.chatId, ev.participant.user_id, 0);
          this.conversation?.participant(ev.chatId, ev.participant);
          break;
      }
      this.#lost = true;
    }
    this.draw();
  }

  #link(): void {
    const c = this.client?.connection;
    if (!c) return;
    const why = c.error;
    // Another tab whose storage works has the connection in a moment, if there is one.
    const unusable = () => this.client?.connection.error?.reason === "store";
    if (unusable()) setTimeout(() => (this.storageFailed ||= unusable()), 2000);
    if (c.link === "stopped") {
      if (why?.reason === "login" || why?.code === "session_revoked") void this.#out(this.self !== undefined && !this.#leaving);
      else this.status = "offline";
      return;
    }
    const was = this.online;
    this.status = c.link;
    if (this.online && !was) {
      this.conversation?.back();
      this.onback?.();
    }
  }

  #setSelf(user: User | undefined): void {
    if (!user) return;
    if (this.self && this.self.user_id !== user.user_id) {
      // Another tab logged in as somebody else: nothing of the one before stays.
      location.reload();
      return;
    }
    this.self = user;
    this.users.set(user.user_id, user);
  }

  #typed(chatId: string, userId: string, until: number): void {
    let of = this.#typers.get(chatId);
    clearTimeout(of?.get(userId));
    if (until === 0) {
      if (!of?.delete(userId)) return;
    } else {
      if (userId === this.self?.user_id) return;
      if (!of) this.#typers.set(chatId, (of = new Map()));
      of.set(userId, setTimeout(() => this.#typed(chatId, userId, 0), Math.max(0, Math.min(15_000, until - Date.now()))));
    }
    this.typing.set(chatId, [...of.keys()]);
  }

  // --- What is drawn

  /** Tells Svelte what changed, once per frame. */
  draw(): void {
    this.#dirty = true;
    if (this.#frame !== undefined) return;
    const go = () => {
      this.#frame = undefined;
      if (this.#dirty) this.#update();
    };
    // A hidden page has no frames.
    if (document.visibilityState === "visible") this.#frame = requestAnimationFrame(go);
    else this.#frame = window.setTimeout(go, 200);
    // Frames stop when the page is hidden before one comes.
    const frame = this.#frame;
    if (document.visibilityState === "visible")
      window.setTimeout(() => {
        if (this.#frame === frame && frame !== undefined) {
          cancelAnimationFrame(frame);
          go();
        }
      }, 500);
  }

  #update(): void {
    this.#dirty = false;
    const client = this.client;
    if (!client) return;
    const now = performance.now();
    if (this.#old && !this.#lost) {
      const wait = this.#listed + listEvery - now;
      if (wait <= 0) this.#lost = true;
      else this.#listing ??= setTimeout(() => ((this.#listing = undefined), this.draw()), wait);
    }
    if (this.#lost) {
      this.#lost = this.#old = false;
      this.#listed = now;
      const latest = new Map<string, Item>();
      const waiting = client.outbox();
      for (const item of waiting) latest.set(item.chatId, item);
      this.queued = waiting.filter((i) => i.progress === "pending").length;
      const list: Chat[] = [];
      for (const chat of client.chats()) {
        const item = latest.get(chat.chat_id);
        let held = this.#views.get(chat.chat_id);
        if (!held || held.chat !== chat || held.item !== item) {
          const row = chat.messages?.at(-1);
          held = { chat, item, view: { ...chat, last: item ? itemMsg(item, this.self?.user_id ?? "") : row && rowMsg(row) } };
          this.#views.set(chat.chat_id, held);
        }
        list.push(held.view);
        if (!this.drafts.has(chat.chat_id)) {
          const text = client.draft(chat.chat_id);
          if (text) this.drafts.set(chat.chat_id, { text });
        }
      }
      this.chats = list;
      if (this.conversation?.returned()) this.#show(client, 0);
      this.#watch();
      const n = list.reduce((sum, c) => sum + (c.notify === "none" ? 0 : c.notify === "mentions" ? c.mentions : c.unread), 0);
      const title = (n ? `(${n >= 1000 ? "999+" : n}) ` : "") + (this.conversation?.there ? titleText(this.chatName(this.conversation.chat)) + " · " : "") + t.app;
      if (document.title !== title) document.title = title;
    }
    this.conversation?.update();
  }

  chat(chatId: string): Chat | undefined {
    return this.chats.find((c) => c.chat_id === chatId);
  }

  /** The other one of a private chat. */
  other(chat: SDKChat): string | undefined {
    if (chat.kind !== "private") return undefined;
    return chat.user_ids?.find((id) => id !== this.self?.user_id);
  }

  chatName(chat: SDKChat): string {
    const other = this.other(chat);
    return other ? this.name(other) : (chat.title ?? "");
  }

  /** Whether what is unread in a chat is for this person in particular. */
  loud(chat: SDKChat): boolean {
    return chat.mentions > 0 || (chat.unread > 0 && chat.kind === "private" && chat.notify !== "none");
  }

  typingIn(chatId: string): string[] {
    return (this.typing.get(chatId) ?? []).map((id) => this.name(id));
  }

  // --- People

  /** Somebody's row; who is not known is looked up and comes later. */
  user(id: string): User | undefined {
    const u = this.users.get(id);
    if (!u && id && !this.#asked.has(id)) {
      this.#asked.add(id);
      this.#wanted.add(id);
      if (!this.#wanting) {
        this.#wanting = true;
        setTimeout(() => void this.#lookUp(), 10);
      }
    }
    return u;
  }

  name(id: string): string {
    return this.user(id)?.name || t.unknownUser;
  }

  async #lookUp(): Promise<void> {
    this.#wanting = false;
    const ids = [...this.#wanted].slice(0, 200);
    for (const id of ids) this.#wanted.delete(id);
    if (!ids.length) return;
    try {
      const found = await this.client?.users(ids, { signal: AbortSignal.timeout(20_000) });
      if (found) this.learn([...found.values()]);
    } catch {
      for (const id of ids) this.#asked.delete(id);
    }
    if (this.#wanted.size) await this.#lookUp();
  }

  learn(list: readonly User[]): void {
    for (const u of list) {
      const was = this.users.get(u.user_id);
      if (!was || was.name !== u.name || was.avatar !== u.avatar || was.status !== u.status || was.username !== u.username) this.users.set(u.user_id, u);
    }
  }

  // What became of people in a time away is told by nobody: asked for after each
  // coming back.
  #refresh(): void {
    const ids = [...this.users.keys()];
    for (let i = 0; i < ids.length; i += 200)
      this.call("users.list", { user_ids: ids.slice(i, i + 200), limit: 200 }).then(
        ({ users }) => this.learn(users),
        () => undefined, // the next time will do
      );
    this.call("users.me", {}).then(
      ({ user }) => this.#setSelf(user),
      () => undefined,
    );
  }

  #watched = "";
  #watch(): void {
    if (!this.client?.hello?.capabilities.includes("presence")) return;
    const ids = new Set<string>();
    for (const c of this.chats.slice(0, 60)) {
      const other = this.other(c);
      if (other) ids.add(other);
    }
    for (const id of this.conversation?.members.keys() ?? []) if (ids.size < 200 && id !== this.self?.user_id) ids.add(id);
    const key = [...ids].join(" ");
    if (key === this.#watched) return;
    this.#watched = key;
    this.client.watchPresence([...ids]);
    for (const id of ids) {
      const status = this.client.presence(id);
      if (status) this.presence.set(id, status);
    }
  }
  watchAgain(): void {
    this.#watch();
  }

  // --- Doing

  /** Any operation, for a person who waits. */
  async call<O extends Operation>(op: O, params: Operations[O]["params"]): Promise<Operations[O]["result"]> {
    const client = this.client;
    if (!client) throw new Failure("offline", "not logged in");
    if (!this.online) throw new Failure("offline", "no connection");
    try {
      return await client.call(op, ...([params, { signal: AbortSignal.timeout(15_000) }] as CallArgs<O>));
    } catch (e) {
      if (e instanceof DOMException) throw new Failure("offline", "no answer");
      throw e;
    }
  }

  async openPrivate(userId: string): Promise<void> {
    const { chat } = await this.call("chats.create", { kind: "private", user_id: userId });
    this.open(chat.chat_id);
  }

  async setNotify(chatId: string, notify: string): Promise<void> {
    await this.call("participants.update", { chat_id: chatId, user_id: this.self!.user_id, notify });
  }

  /** Something of this device's could not be kept: it is said once. */
  unkept(e: unknown): void {
    if (!this.client) return; // signed out meanwhile: there is nothing to keep
    console.info("grima: not kept:", e);
    if (!this.#unkept) this.storageFailed = true;
    this.#unkept = true;
  }

  reconnect(): void {
    this.client?.reconnect();
  }

  toast(text: string): void {
    this.toastText = text;
    setTimeout(() => {
      if (this.toastText === text) this.toastText = "";
    }, 2500);
  }

  // --- Where one is

  open(chatId: string, seq?: number): void {
    const path = `/c/${chatId}` + (seq ? `/${seq}` : "");
    if (location.pathname !== path) history.pushState(null, "", path);
    this.route();
  }

  /** gone: there is no way back to what was open. */
  close(gone = false): void {
    if (gone) history.replaceState(null, "", "/");
    else if (location.pathname !== "/") history.pushState(null, "", "/");
    this.route();
  }

  /** Shows what the address says. */
  route(): void {
    this.path = location.pathname;
    if (this.stage !== "in" || !this.client) return;
    const m = /^\/c\/([\w-]{1,32})(?:\/(\d{1,16}))?$/.exec(location.pathname);
    const chatId = m?.[1] ?? "";
    const seq = m?.[2] ? Number(m[2]) : 0;
    if (location.pathname === "/browse") this.panel = "browse";
    if (location.pathname.startsWith("/settings")) this.panel = "settings";
    if (chatId === this.chatId && this.conversation) {
      if (seq) void this.conversation.jumpTo(seq, true);
      return;
    }
    this.chatId = chatId;
    this.client.focus(...(chatId ? [chatId] : []));
    this.#show(this.client, seq);
    this.#lost = true;
    this.draw();
  }

  #show(client: Client, seq: number): void {
    this.conversation?.close();
    this.conversation = this.chatId ? new Conversation(client, this.chatId, seq) : null;
  }

  /** The chat d places below the one that is open; unread: only those with something new. */
  step(d: 1 | -1, unread: boolean): void {
    const list = this.chats;
    const at = list.findIndex((c) => c.chat_id === this.chatId);
    for (let n = 1; n <= list.length; n++) {
      const c = list[(((at < 0 && d < 0 ? 0 : at) + d * n) % list.length + list.length) % list.length]!;
      if (!unread || c.unread > 0) return this.open(c.chat_id);
    }
  }

  #unsaid: { name: string; content: string }[] = [];
  #saying: ReturnType<typeof setTimeout> | undefined;
  /** Says something to who listens to the page; of much at once the last. */
  live(name: string, content: string): void {
    this.#unsaid.push({ name, content });
    if (this.#unsaid.length > 5) this.#unsaid.shift();
    if (this.#saying === undefined) this.#say();
  }
  #say(): void {
    const unsaid = this.#unsaid;
    this.#unsaid = [];
    this.#saying = unsaid.length ? setTimeout(() => this.#say(), sayEvery) : undefined;
    if (unsaid.length) this.liveText = unsaid.map((s) => t.live.message(s.name, plain(s.content, 300))).join("\n");
  }
}

// A title is no place for what turns text around.
const titleText = (s: string) => s.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "").slice(0, 80);

export type { App };
export const app = new App();
