import type { GrimaError } from "./errors.js";
import type { Hello, Message, MessagesListParams, MessagesListResult, Operation, Operations, User } from "./protocol.gen.js";
import type { Timeline } from "./timeline.js";
import type { Chat, Connection, Draft, Event, EventKind, EventOf, Item, Store } from "./types.js";

/** What a WebSocket has that the client needs: the browser's, Node's (22 and later), and that of the package ws. */
export interface WebSocketLike {
  readonly readyState: number;
  onopen: ((ev: any) => void) | null;
  onmessage: ((ev: any) => void) | null;
  onclose: ((ev: any) => void) | null;
  onerror: ((ev: any) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

export type WebSocketConstructor = new (url: string, protocols?: string | string[]) => WebSocketLike;

/** Where a client connects and how it behaves. Only auth is needed, and outside of a page url. */
export interface Config {
  /**
   * The server: "https://host", "wss://host/v1/ws" and the like. http and https
   * stand for ws and wss; the path is /v1/ws when absent. Absent: where the page
   * came from.
   */
  url?: string;
  /** "cookie": the page's session cookie goes along with the handshake. */
  auth: "cookie" | { token: string };
  /**
   * The device, and the program, as "echobot/1.2" (absent: grima-ts), for the
   * server. What sessions.list shows are those that the session was made with.
   */
  device?: string;
  agent?: string;

  /** Keeps state over reloads; absent: in memory. */
  store?: Store;
  /**
   * Tabs of this origin that open a client with the same name share one
   * connection: name it after the store. Absent: this one has its own.
   */
  tabs?: string;
  /**
   * What to do when the store belongs to somebody other than who is logged in.
   * "stop" (the default): the client stops with other_user. "forget": the store
   * is emptied, the outbox and drafts too, and a reset is told.
   */
  otherUser?: "stop" | "forget";

  /** Leave a chat that changed while away where it is until it is in focus or something happens in it. Default: true with a store, so that a start costs little. */
  lazy?: boolean;
  /** How many positions a chat may be behind to be caught up change by change; beyond, skipped is told. 0: any number. Default 2,000. */
  maxCatchUp?: number;
  /** How many events may wait for the store; default 1,024, at least 256. */
  buffer?: number;
  /** How many drafts may wait; default 10,000. */
  maxOutbox?: number;
  /** How many of a chat's newest messages chat.added brings, at most 20; default 1. */
  timeline?: number;
  /** After how much silence the server is asked to say something; default 30,000 ms. */
  heartbeatMs?: number;
  /** Bounds connecting and logging in; default 30,000 ms. */
  dialTimeoutMs?: number;
  /** Bound the random wait before the next try; default 1,000 and 60,000 ms. */
  minBackoffMs?: number;
  maxBackoffMs?: number;

  /** Allow a token to go without TLS to other machines. It can then be read on the way. */
  insecure?: boolean;

  /** Instead of the global WebSocket, which Node has from version 22 on. */
  WebSocket?: WebSocketConstructor;
}

export interface CallOptions {
  signal?: AbortSignal;
}

/**
 * A user's connection to a server, which comes back. Everything that is told comes
 * in one order: whatever a getter says is what the events up to now have told.
 */
export interface Client {
  /** Who is logged in; undefined until that is known (the store knows it, too). */
  readonly self: User | undefined;
  /** The server's greeting on the latest connection. */
  readonly hello: Hello | undefined;
  /** How the connection stands. */
  readonly connection: Connection;
  /** Whether this tab holds the connection; always true without Config.tabs. */
  readonly leader: boolean;

  /** The chats the user is in, latest activity first. */
  chats(): Chat[];
  chat(chatId: string): Chat | undefined;
  /** What is in the outbox, pending and failed, in order; only of a chat if it is given. */
  outbox(chatId?: string): Item[];
  /** online, away or offline of somebody who is watched; undefined: not known. */
  presence(userId: string): string | undefined;
  /** What is being written in a chat; "": nothing. */
  draft(chatId: string): string;

  /** Calls listener with every event of a kind ("*": of any), from now on. Returns what ends it. */
  on<K extends EventKind>(kind: K, listener: (ev: EventOf<K>) => void): () => void;
  on(kind: "*", listener: (ev: Event) => void): () => void;
  /** Calls listener with all events that came at once: one batch, one picture. */
  onBatch(listener: (events: readonly Event[]) => void): () => void;
  /**
   * The events from now on, as an iterator that ends when the client does. In the
   * tab that holds the connection a slow reader slows the client down instead of
   * making it grow.
   */
  events(options?: CallOptions): AsyncIterableIterator<Event>;

  /** Waits until the client is online and knows all chats. Rejects with why it stopped. */
  ready(options?: CallOptions): Promise<void>;
  /** Why the client stopped, if it did for another reason than close. */
  readonly error: GrimaError | undefined;

  /**
   * Calls any operation. While there is no connection it waits (end that with the
   * signal). If it is lost before the answer, reads and writes that are harmless
   * to repeat are asked again; others reject with unknown_outcome. What the server
   * refuses rejects with a GrimaError refused.
   */
  call<O extends Operation>(op: O, ...args: CallArgs<O>): Promise<Operations[O]["result"]>;

  /**
   * Puts a message into the outbox. From here on it is sent until the server
   * answers, in the order of its chat, over reloads too if the store keeps it. It
   * is told by outbox events: pending now, then sent or failed.
   */
  queue(draft: Draft): Promise<Item>;
  /** Queues a message and waits until it is on the server's disk. */
  send(draft: Draft, options?: CallOptions): Promise<Item>;
  /** Tries a failed item again, as it is. */
  retry(id: string): Promise<void>;
  /** Takes an item out of the outbox. True: it had never been tried, and so is certainly not sent. */
  discard(id: string): Promise<boolean>;
  /** Keeps what is being written in a chat, in all tabs and over reloads; "": nothing. */
  setDraft(chatId: string, text: string): Promise<void>;

  /** Moves one's read mark up to seq, here at once and on the server when there is a connection. */
  markRead(chatId: string, seq: number): void;
  /** Tells the others that one is typing, at most every 5 s however often it is called; with stop, that one no longer is. */
  typing(chatId: string, stop?: boolean): void;
  /** Which chats are on this tab's screen: they are caught up first, and typing is heard of these only. */
  focus(...chatIds: string[]): void;
  /** Whether a person looks at this tab (true until it is said). */
  active(active: boolean): void;
  /** Whose presence this tab wants to hear of: at most 200 in all tabs; the watch is kept up until the next call. */
  watchPresence(userIds: readonly string[]): void;

  /** A page of messages: from the store if it holds the whole page or there is no connection, else from the server and then into the store. */
  history(p: MessagesListParams, options?: CallOptions): Promise<MessagesListResult>;
  /** A window on a chat that keeps itself up with the events until it is closed. */
  window(chatId: string): ChatWindow;
  /** Looks up people: from memory, the server, or without a connection from the store. Those that do not exist are left out. */
  users(ids: Iterable<string>, options?: CallOptions): Promise<Map<string, User>>;
  /** Somebody who was looked up already. */
  user(id: string): User | undefined;

  /** Tries at once instead of at connection.retryAt. */
  reconnect(): void;
  /**
   * Ends the client. What is in the outbox stays in the store; with forget, as when
   * somebody signs out, nothing does.
   */
  close(options?: { forget?: boolean }): Promise<void>;
}

/** Params may be left out where none are needed. */
export type CallArgs<O extends Operation> =
  Record<never, never> extends Operations[O]["params"]
    ? [params?: Operations[O]["params"], options?: CallOptions]
    : [params: Operations[O]["params"], options?: CallOptions];

/**
 * The messages of a chat that a window shows: a run without holes around where it
 * looks, which is the present until it jumps. It grows by older and newer, and at
 * its end by what is told if it touches the present.
 */
export interface ChatWindow {
  readonly chatId: string;
  /** What it shows: ascending, deleted ones as rows without content. A new array after each change. */
  readonly messages: readonly Message[];
  /** Whether it begins at the beginning; before anything is loaded false. */
  readonly atStart: boolean;
  /** Whether it reaches the present; before anything is loaded false. */
  readonly atEnd: boolean;
  /** The rows and ranges beneath. */
  readonly timeline: Timeline;
  /** Is called after every change of messages, atStart or atEnd. Returns what ends it. */
  onChange(listener: () => void): () => void;
  /** Shows the newest messages (no seq) or those around one. True: that is loaded. False: it could not be, there is no connection. */
  jump(seq?: number): Promise<boolean>;
  /** Loads the messages before those it shows. False: there are none, or none could be loaded. */
  older(limit?: number): Promise<boolean>;
  /** Loads the messages after those it shows. */
  newer(limit?: number): Promise<boolean>;
  close(): void;
}
