import { asGrimaError } from "./errors.js";

/** The tables of a store. Keys are of one shape within each. */
export const tables = ["meta", "chats", "messages", "outbox", "users", "drafts"] as const;
export type Table = (typeof tables)[number];
export type Key = string | [string, number];

export interface Query {
  from?: Key;
  to?: Key;
  limit?: number;
  /** The last ones first. */
  newest?: boolean;
}

/** A transaction: all of it happens, or nothing. Nothing but its own promises may be awaited in it. */
export interface Tx {
  get(t: Table, key: Key): Promise<unknown>;
  put(t: Table, key: Key, value: unknown): void;
  delete(t: Table, key: Key): void;
  deleteRange(t: Table, from: Key, to: Key): void;
  clear(t: Table): void;
  list(t: Table, q?: Query): Promise<unknown[]>;
}

/** Tables of values by key, with transactions. */
export interface Kv {
  transact<T>(mode: "readonly" | "readwrite", work: (tx: Tx) => Promise<T>): Promise<T>;
  close(): void;
}

/** Opens, or makes, a database of the browser's. Errors are GrimaError store. */
export async function openIndexedDB(name: string, factory: IDBFactory): Promise<Kv> {
  const db = await new Promise<IDBDatabase>((resolve, reject) => {
    const req = factory.open(name, 1);
    req.onupgradeneeded = () => {
      for (const t of tables) req.result.createObjectStore(t);
    };
    req.onsuccess = () => resolve(req.result);
    req.onerror = () => reject(asGrimaError(req.error, "store", "opening the cache"));
    req.onblocked = () => undefined; // an older page closes it when it hears of the new version
  });
  db.onversionchange = () => db.close();
  return new IndexedKv(db);
}

class IndexedKv implements Kv {
  readonly #db: IDBDatabase;

  constructor(db: IDBDatabase) {
    this.#db = db;
  }

  async transact<T>(mode: IDBTransactionMode, work: (tx: Tx) => Promise<T>): Promise<T> {
    try {
      const t = this.#db.transaction(tables, mode, { durability: "relaxed" });
      const end = new Promise<void>((resolve, reject) => {
        t.oncomplete = () => resolve();
        t.onabort = () => reject(asGrimaError(t.error ?? "it was aborted", "store", ""));
      });
      let result: T;
      try {
        result = await work(new IndexedTx(t));
      } catch (err) {
        end.catch(() => undefined); // err says why
        try {
          t.abort();
        } catch {
          // It was aborted by what failed.
        }
        throw err;
      }
      await end;
      return result;
    } catch (err) {
      throw asGrimaError(err, "store", mode === "readonly" ? "reading the cache" : "writing the cache");
    }
  }

  close(): void {
    this.#db.close();
  }
}

class IndexedTx implements Tx {
  readonly #t: IDBTransaction;

  constructor(t: IDBTransaction) {
    this.#t = t;
  }

  get(t: Table, key: Key): Promise<unknown> {
    return done(this.#t.objectStore(t).get(key));
  }

  put(t: Table, key: Key, value: unknown): void {
    this.#t.objectStore(t).put(value, key);
  }

  delete(t: Table, key: Key): void {
    this.#t.objectStore(t).delete(key);
  }

  deleteRange(t: Table, from: Key, to: Key): void {
    this.#t.objectStore(t).delete(IDBKeyRange.bound(from, to));
  }

  clear(t: Table): void {
    this.#t.objectStore(t).clear();
  }

  async list(t: Table, q: Query = {}): Promise<unknown[]> {
    const range = q.from !== undefined && q.to !== undefined ? IDBKeyRange.bound(q.from, q.to) : null;
    const store = this.#t.objectStore(t);
    if (!q.newest) return await done(store.getAll(range, q.limit));
    return await new Promise((resolve, reject) => {
      const rows: unknown[] = [];
      const req = store.openCursor(range, "prev");
      req.onerror = () => reject(req.error ?? new Error("no cursor"));
      req.onsuccess = () => {
        const c = req.result;
        if (c) rows.push(c.value);
        if (!c || rows.length >= (q.limit ?? Infinity)) resolve(rows);
        else c.continue();
      };
    });
  }
}

function done<T>(req: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    req.onsuccess = () => resolve(req.result);
    req.onerror = () => reject(req.error ?? new Error("a request failed"));
  });
}

type Row = [key: Key, value: unknown];

function compare(a: Key, b: Key): number {
  if (typeof a === "string" || typeof b === "string") return a < b ? -1 : a > b ? 1 : 0;
  return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : a[1] - b[1];
}

/** The same in memory. Values are kept as they are, and not to be changed. */
export class MemoryKv implements Kv {
  readonly #tables = new Map<Table, Row[]>(tables.map((t) => [t, []]));
  #last: Promise<unknown> = Promise.resolve();

  transact<T>(_: "readonly" | "readwrite", work: (tx: Tx) => Promise<T>): Promise<T> {
    const run = async (): Promise<T> => {
      const undo: (() => void)[] = [];
      try {
        return await work(this.#tx(undo));
      } catch (err) {
        for (const u of undo.reverse()) u();
        throw err;
      }
    };
    const result = this.#last.then(run, run);
    this.#last = result.catch(() => undefined);
    return result;
  }

  #find(t: Table, key: Key): [rows: Row[], i: number, found: boolean] {
    const rows = this.#tables.get(t)!;
    let lo = 0;
    let hi = rows.length;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if (compare(rows[mid]![0], key) < 0) lo = mid + 1;
      else hi = mid;
    }
    return [rows, lo, lo < rows.length && compare(rows[lo]![0], key) === 0];
  }

  #tx(undo: (() => void)[]): Tx {
    const cut = (t: Table, from: number, n: number): void => {
      const gone = this.#tables.get(t)!.splice(from, n);
      undo.push(() => this.#tables.get(t)!.splice(from, 0, ...gone));
    };
    return {
      get: (t, key) => {
        const [rows, i, found] = this.#find(t, key);
        return Promise.resolve(found ? rows[i]![1] : undefined);
      },
      put: (t, key, value) => {
        const [rows, i, found] = this.#find(t, key);
        const was = rows[i]!;
        rows.splice(i, found ? 1 : 0, [key, value]);
        undo.push(() => (found ? rows.splice(i, 1, was) : rows.splice(i, 1)));
      },
      delete: (t, key) => {
        const [, i, found] = this.#find(t, key);
        if (found) cut(t, i, 1);
      },
      deleteRange: (t, from, to) => {
        const [, i] = this.#find(t, from);
        const [, j, found] = this.#find(t, to);
        cut(t, i, j + (found ? 1 : 0) - i);
      },
      clear: (t) => cut(t, 0, Infinity),
      list: (t, q = {}) => {
        const rows = this.#tables.get(t)!;
        const i = q.from === undefined ? 0 : this.#find(t, q.from)[1];
        const [, to, found] = q.to === undefined ? [rows, rows.length, false] : this.#find(t, q.to);
        let some = rows.slice(i, to + (found ? 1 : 0));
        if (q.newest) some = some.reverse();
        return Promise.resolve(some.slice(0, q.limit).map((r) => r[1]));
      },
    };
  }

  close(): void {
    // It lives as long as the store.
  }
}
