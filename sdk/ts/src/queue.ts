import type { Event } from "./types.js";

/**
 * The events that the application has yet to take. What is bounded here is what
 * nobody else bounds: of the connection there is one event at a time, and of the
 * outbox the oldest go beyond a number.
 */
export class Queue {
  #events: Event[] = [];
  #head = 0; // #events from here on wait
  #outbox = 0; // events of the outbox among them

  get length(): number {
    return this.#events.length - this.#head;
  }

  put(ev: Event): void {
    this.#events.push(ev);
  }

  take(n: number): Event[] {
    const taken = this.#events.slice(this.#head, this.#head + Math.max(0, n));
    for (const ev of taken) if (ev.kind === "outbox") this.#outbox--;
    this.#head += taken.length;
    if (this.#head > this.length) {
      this.#events = this.#events.slice(this.#head);
      this.#head = 0;
    }
    return taken;
  }

  /** Forgets the first event that waits and is of a kind. */
  #drop(kind: Event["kind"]): boolean {
    for (let i = this.#head; i < this.#events.length; i++) {
      if (this.#events[i]!.kind === kind) {
        this.#events.splice(i, 1);
        return true;
      }
    }
    return false;
  }

  /** Puts ev instead of what the queue has of its kind. */
  only(ev: Event): void {
    this.#drop(ev.kind);
    this.put(ev);
  }

  /** Puts an event of the outbox; most of them may wait. */
  item(ev: Event & { kind: "outbox" }, most: number): void {
    this.put(ev);
    if (++this.#outbox > most && this.#drop("outbox")) this.#outbox--;
  }

  /** Forgets what would be told of chats. */
  reset(): void {
    const keep: Event["kind"][] = ["outbox", "connection", "self"];
    this.#events = this.#events.slice(this.#head).filter((e) => keep.includes(e.kind));
    this.#head = 0;
  }
}
