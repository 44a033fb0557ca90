import { taken } from "./errors.js";
import type { Event, Item, Store } from "./types.js";

/** How often the store is written at most while much happens, in ms. */
const takeEvery = 100;
/** How many events the store may be behind before no more are told. */
const maxUntaken = 1024;

/**
 * What was told and is yet to be kept: the store takes it at once where little
 * happens, else what came in a while together.
 */
export class Keeping {
  readonly #store: Store | undefined;
  readonly #onfail: (err: unknown) => void;
  #untaken: Event[] = []; // what was told, and the store does not have
  #taking: Promise<void> | undefined; // the store's taking of some
  #takenAt = 0; // when that began last
  #taker: ReturnType<typeof setTimeout> | undefined;
  #putting = new Set<Promise<void>>(); // items on their way into the store
  #failed = false;

  /** onfail hears, once, that the store failed: nothing is kept behind a hole. */
  constructor(store: Store | undefined, onfail: (err: unknown) => void) {
    this.#store = store;
    this.#onfail = onfail;
  }

  /** Has events kept, at once or soon. Waits when the store is too far behind. */
  async keep(evs: readonly Event[], soon: boolean): Promise<void> {
    if (!this.#store) return;
    this.#untaken.push(...evs);
    const later = (): void => void this.flush().catch(() => undefined); // onfail told it
    const wait = soon ? this.#takenAt + takeEvery - Date.now() : 0;
    if (wait <= 0 && !this.#taking) later();
    else this.#taker ??= setTimeout(later, Math.min(Math.max(wait, 0), takeEvery));
    if (this.#untaken.length >= maxUntaken) await this.flush();
  }

  /** Waits until the store has what was told up to now. Rejects when the store failed. */
  async flush(): Promise<void> {
    clearTimeout(this.#taker);
    this.#taker = undefined;
    await this.#taking;
    if (!this.#taking && this.#untaken.length > 0 && !this.#failed) this.#taking = this.#take();
    await this.#taking;
  }

  async #take(): Promise<void> {
    const evs = this.#untaken;
    this.#untaken = [];
    this.#takenAt = Date.now();
    try {
      await this.#store!.apply(evs);
    } catch (err) {
      this.fail(err);
      throw err;
    } finally {
      this.#taking = undefined;
    }
  }

  /** From here on nothing is kept. */
  fail(err: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#onfail(err);
  }

  /** Keeps something of the outbox. */
  async put(item: Item): Promise<void> {
    if (!this.#store) return;
    const put = this.#store.put(item);
    this.#putting.add(put);
    try {
      await this.#mine(put);
    } finally {
      this.#putting.delete(put);
    }
  }

  /** Forgets something of the outbox. */
  async drop(id: string): Promise<void> {
    if (this.#store) await this.#mine(this.#store.drop(id));
  }

  /** What fails here is of who asked for it, unless the store is another's by now. */
  async #mine(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (err) {
      if (taken(err)) this.fail(err);
      throw err;
    }
  }

  /** Empties the store: what is on its way there, and what was to go there, goes too. */
  async clear(): Promise<void> {
    this.#untaken = [];
    await Promise.allSettled([...this.#putting]); // who waits for it hears how it went
    await this.flush();
    await this.#store?.clear();
  }
}
