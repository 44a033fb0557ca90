import type { Row } from "./rows.ts";

/** What can be done with a message; the conversation does it. */
export interface Actions {
  reply(row: Row): void;
  edit(row: Row): void;
  copy(row: Row): void;
  link(row: Row, chatId: string): void;
  del(row: Row): void;
  mayDelete(row: Row): boolean;
  retry(row: Row): void;
  discard(row: Row): void;
  jump(seq: number): void;
}
