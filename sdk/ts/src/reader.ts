import type { Event } from "./types.js";

/** How many events may wait for a reader before it is waited for. */
const maxBehind = 1024;

/** A reader of the events. */
export class Reader implements AsyncIterableIterator<Event> {
  #events: Event[] = [];
  #waiting: ((r: IteratorResult<Event, undefined>) => void)[] = [];
  #roomy: (() => void)[] = [];
  #done = false;
  #patient = true;
  readonly #leave: () => void;

  constructor(leave: () => void) {
    this.#leave = leave;
  }

  /** Takes events; the promise, if any, is over when there is room for more. */
  put(events: readonly Event[]): Promise<void> | undefined {
    if (this.#done) return undefined;
    for (const value of events) {
      const w = this.#waiting.shift();
      if (w) w({ value, done: false });
      else this.#events.push(value);
    }
    return this.#events.length < maxBehind || !this.#patient ? undefined : new Promise((go) => this.#roomy.push(go));
  }

  /** Waits for this reader no longer: it takes whatever is still told. */
  hurry(): void {
    this.#patient = false;
    this.#free();
  }

  next(): Promise<IteratorResult<Event, undefined>> {
    const value = this.#events.shift();
    if (this.#events.length < maxBehind / 2) this.#free();
    if (value) return Promise.resolve({ value, done: false });
    if (this.#done) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #free(): void {
    for (const go of this.#roomy.splice(0)) go();
  }

  /** Ends it: what waits can still be read. */
  return(): Promise<IteratorResult<Event, undefined>> {
    this.#done = true;
    this.#leave();
    this.#free();
    for (const w of this.#waiting.splice(0)) w({ value: undefined, done: true });
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
