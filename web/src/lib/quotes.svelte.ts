// What the messages of a chat answer, of what is not held: asked for when it is drawn.
import { SvelteMap } from "svelte/reactivity";
import type { Client } from "@grima/sdk";
import { type Msg, rowMsg } from "./rows.ts";

export class Quotes {
  readonly #client: Client;
  readonly #chatId: string;
  readonly #known = new SvelteMap<number, Msg | null>();
  readonly #asked = new Set<number>();

  constructor(client: Client, chatId: string) {
    this.#client = client;
    this.#chatId = chatId;
  }

  /** A message by its seq; undefined: not known yet; null: there is none for us. */
  get(seq: number): Msg | null | undefined {
    if (!this.#asked.has(seq)) {
      this.#asked.add(seq);
      void this.#ask(seq);
    }
    return this.#known.get(seq);
  }

  async #ask(seq: number): Promise<void> {
    try {
      const { messages } = await this.#client.history({ chat_id: this.#chatId, around: seq, limit: 1 }, { signal: AbortSignal.timeout(15_000) });
      const m = messages.find((m) => m.seq === seq);
      this.#known.set(seq, m ? rowMsg(m) : null);
    } catch {
      this.#asked.delete(seq); // asked again when it is drawn again
    }
  }
}
