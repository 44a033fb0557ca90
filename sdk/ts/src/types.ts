import type { Failure } from "./errors.js";
import type { ChatRow, ChatState, ErrorBody, Hello, Message, MessagesListParams, MessagesListResult, Participant, User } from "./protocol.gen.js";
import type { Ranges } from "./ranges.js";

/**
 * A chat as this user sees it, kept up with the events: the counts, last_seq, the
 * read mark and the newest message (in messages, at most one) are of the event
 * that carries it. It is never changed: a change makes another Chat.
 */
export interface Chat extends ChatState {
  /** How far this client is in the chat's log; below last_seq while it catches up. */
  pos: number;
  /** unread and mentions may be wrong; they are being asked for. */
  uncertain?: boolean;
  /** A read mark that the server was not told yet. read_seq is there already. */
  mark?: number;
  /**
   * Positions up to pos whose messages were not told yet, since they changed
   * later: part of a catch-up that is under way. A Store keeps it with the chat.
   */
  unseen?: Ranges;
}

/** A message to send. */
export interface Draft {
  /** The message's client_msg_id: chosen once, with the draft. Absent: one is made. */
  id?: string;
  chatId: string;
  content: string;
  /** The seq of the message that this one answers. */
  replyTo?: number;
  /** The user ids of who is mentioned. */
  mentions?: string[];
  mentionAll?: boolean;
}

/**
 * How far a message in the outbox has got. pending: sent again until it is
 * answered; sent: on the server's disk as seq, and no longer in the outbox;
 * failed: refused for good, and stays until retry or discard; discarded: taken
 * out (whether it was sent is unknown if it had been tried).
 */
export type Progress = "pending" | "sent" | "failed" | "discarded";

/** A message in the outbox. */
export interface Item extends Draft {
  id: string;
  progress: Progress;
  /** When it was queued, in ms since 1970. */
  queuedAt: number;
  /** How often it was tried. */
  tries: number;
  /** sent: its position in the chat. */
  seq?: number;
  /** sent: the server's time. */
  sentAt?: string;
  /** sent: it was there from an earlier try. */
  duplicate?: boolean;
  /** failed, or why the last try of a pending one came to nothing. */
  error?: ErrorBody;
}

/**
 * How a connection stands. offline: waiting for retryAt; connecting: dialing or
 * logging in; syncing: logged in, finding what changed (calls and sends go out);
 * online: and what changed is known; stopped: for good, error says why.
 */
export type Link = "offline" | "connecting" | "syncing" | "online" | "stopped";

export interface Connection {
  link: Link;
  /** offline: when it tries again, in ms since 1970. */
  retryAt?: number;
  /** Why it is not connected. */
  error?: Failure;
}

/**
 * A durable change of a chat. Of each chat they tile its log from where the client
 * began, in order, each exactly once: prevSeq is the seq of the one before.
 */
interface Durable {
  chatId: string;
  /** The chat's position after the event, which covers (prevSeq, seq]. */
  seq: number;
  prevSeq: number;
  /** The chat after the event. */
  state: Chat;
  /** Who did it, if not the row's own user or sender and if it was told live. */
  actorId?: string;
}

/**
 * message.created is a message that this client was not told of before (after a
 * time away it may have been edited already); message.deleted is perhaps of one
 * that was never told.
 */
export interface MessageEvent extends Durable {
  kind: "message.created" | "message.updated" | "message.deleted";
  message: Message;
}

export interface ParticipantEvent extends Durable {
  kind: "participant.added" | "participant.updated" | "participant.removed";
  participant: Participant;
  /** With participant.added: its creator came together with the chat itself. */
  chat?: ChatRow;
}

export interface ChatUpdatedEvent extends Durable {
  kind: "chat.updated";
  chat: ChatRow;
}

/** The chat's position moved on without a row that is for this client. */
export interface MovedEvent extends Durable {
  kind: "moved";
}

/**
 * The changes in (prevSeq, seq] are not told: they were too many
 * (Config.maxCatchUp), or another tab heard them and is gone. Rows held of this
 * chat may be old: forget them and page anew.
 */
export interface SkippedEvent extends Durable {
  kind: "skipped";
}

/**
 * chat.added: the chat is there, or there again; the events from state.pos on
 * follow. chat.state: state is news by itself (counts, newest message, read mark).
 */
export interface ChatEvent {
  kind: "chat.added" | "chat.state";
  chatId: string;
  state: Chat;
}

/** The user is not in the chat any more, or it was deleted: forget its rows. */
export interface ChatRemovedEvent {
  kind: "chat.removed";
  chatId: string;
  /** 0 when that was found by sync. */
  seq: number;
}

/** A read mark moved, one's own or somebody else's. Of one's own it may be `notify` alone, in `state`, that is another now. */
export interface ReadEvent {
  kind: "read";
  chatId: string;
  userId: string;
  readSeq: number;
  state: Chat;
}

/** Somebody is typing until the time until (ms since 1970), or stopped. May be lost. */
export interface TypingEvent {
  kind: "typing";
  chatId: string;
  userId: string;
  until: number;
  stopped: boolean;
  state: Chat;
}

/** Somebody who is watched (Client.watchPresence) came or went. May be lost. */
export interface PresenceEvent {
  kind: "presence";
  userId: string;
  /** online, away or offline. */
  status: string;
}

/**
 * What others see of somebody (name, avatar, status) with whom one shares a chat
 * changed; of oneself that is told by self. May be lost: after a time away those
 * who are shown are asked for anew (Client.users).
 */
export interface UserEvent {
  kind: "user";
  user: User;
}

/**
 * The server's history is another than before (a restored backup), or the
 * client's place in it is lost, or the store was another user's: forget all chats
 * and rows. chat.added follows for each. The outbox stays.
 */
export interface ResetEvent {
  kind: "reset";
  epoch: string;
}

/** All chats are known and every change up to now is told or being fetched. Once per connection. */
export interface SyncedEvent {
  kind: "synced";
}

/** For a Store: what came before it is covered by cursor. */
export interface CursorEvent {
  kind: "cursor";
  userId: string;
  epoch: string;
  cursor: string;
  complete: boolean;
}

export interface ConnectionEvent {
  kind: "connection";
  connection: Connection;
}

/** An item of the outbox changed. */
export interface OutboxEvent {
  kind: "outbox";
  chatId: string;
  item: Item;
}

/** Who is logged in became known, or their own row changed. */
export interface SelfEvent {
  kind: "self";
  user: User;
}

/** The server's greeting on a new connection. */
export interface HelloEvent {
  kind: "hello";
  hello: Hello;
}

/** A draft was written (Client.setDraft), perhaps in another tab. */
export interface DraftEvent {
  kind: "draft";
  chatId: string;
  text: string;
}

/** One thing that happened. A program ignores kinds it does not know. Events are shared and not to be changed. */
export type Event =
  | MessageEvent
  | ParticipantEvent
  | ChatUpdatedEvent
  | MovedEvent
  | SkippedEvent
  | ChatEvent
  | ChatRemovedEvent
  | ReadEvent
  | TypingEvent
  | PresenceEvent
  | UserEvent
  | ResetEvent
  | SyncedEvent
  | CursorEvent
  | ConnectionEvent
  | OutboxEvent
  | SelfEvent
  | HelloEvent
  | DraftEvent;

export type EventKind = Event["kind"];

/** The events of a kind. */
export type EventOf<K extends EventKind, E extends Event = Event> = E extends { kind: infer X } ? (K extends X ? E & { kind: K } : never) : never;

/** What a client goes on from (docs/protocol.md#resume). */
export interface State {
  /** Whose state it is; "": nobody's yet. */
  userId: string;
  epoch: string;
  /** "": from the beginning. */
  cursor: string;
  /**
   * The first sync came to its end, and a chat that is new since is told from the
   * user's coming on.
   */
  complete: boolean;
  chats: Chat[];
  /** In the order they were queued. */
  outbox: Item[];
  /** The row of who is logged in, as far as it is known. */
  self?: User;
}

/** A page of history, see {@link Store.page}. */
export interface HeldPage {
  page: MessagesListResult;
  /** No more of the server's rows would belong on it. */
  whole: boolean;
}

/**
 * Keeps over reloads what a client has to remember: {@link indexedDBStore} in a
 * page, {@link memoryStore} for tests and scripts. It belongs to one user of one
 * server. Several tabs may share it; one of them calls apply at a time.
 */
export interface Store {
  /** What was kept. */
  load(): Promise<State>;
  /**
   * The same for who is to keep what comes: from here on apply, put and drop fail,
   * with the code taken, for whoever took it before, as a tab that was frozen and
   * does not know. A store without it may be written by two tabs for a moment.
   */
  take?(): Promise<State>;
  /**
   * Keeps what events tell, all of it or nothing: rows, the state of each chat,
   * the outbox, the cursor. An error stops the client, or lets another tab go on.
   */
  apply(events: readonly Event[]): Promise<void>;
  /** Keeps an item of the outbox, before it is tried for the first time. */
  put(item: Item): Promise<void>;
  /** Forgets an item. */
  drop(id: string): Promise<void>;
  /** A page from what is held. */
  page(p: MessagesListParams): Promise<HeldPage>;
  /** Keeps a page that the server gave for p while the user's membership was the one that began at joinedSeq. */
  putPage(p: MessagesListParams, page: MessagesListResult, joinedSeq: number): Promise<void>;
  /** The users that are kept, of these. */
  users(ids: readonly string[]): Promise<User[]>;
  putUsers(users: readonly User[]): Promise<void>;
  /** All drafts by chat. */
  drafts(): Promise<Map<string, string>>;
  /** "": none. */
  setDraft(chatId: string, text: string): Promise<void>;
  /** Forgets everything, the outbox and drafts too. */
  clear(): Promise<void>;
  close(): void;
}
