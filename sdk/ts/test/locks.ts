/** The Web Locks of tabs in one process: what of them the SDK uses. */
export class Locks {
  #queues = new Map<string, { grant: () => void; end: (err: unknown) => void; tab: object }[]>();

  /** The locks as one tab sees them. Closing what is put into whole is the tab's sudden death. */
  tab(whole: { close(): void }[]): Pick<LockManager, "request"> {
    const tab = {};
    let dead = false;
    whole.push({
      close: () => {
        dead = true;
        for (const [name, q] of this.#queues) {
          const held = q[0]?.tab === tab;
          this.#queues.set(name, q.filter((x) => x.tab !== tab));
          if (held) this.#queues.get(name)![0]?.grant();
        }
      },
    });
    const request = async (name: string, options: LockOptions, work: (lock: Lock) => Promise<unknown>): Promise<unknown> => {
      // Nothing is granted to the dead any more; who closes one waits no longer than its request does.
      if (dead) return await new Promise((_, reject) => options.signal?.addEventListener("abort", () => reject(options.signal!.reason as Error)));
      const q = this.#queues.get(name) ?? [];
      this.#queues.set(name, q);
      return await new Promise((resolve, reject) => {
        const leave = (me: object): void => {
          const now = this.#queues.get(name) ?? [];
          const i = now.findIndex((x) => x === me);
          if (i < 0) return;
          now.splice(i, 1);
          if (i === 0) now[0]?.grant();
        };
        const me = {
          tab,
          grant: () => {
            Promise.resolve()
              .then(() => work({ name, mode: "exclusive" }))
              .then(resolve, reject)
              .finally(() => leave(me));
          },
          end: reject,
        };
        options.signal?.addEventListener("abort", () => {
          if (this.#queues.get(name)?.[0] === me) return; // it is held
          leave(me);
          reject(options.signal!.reason as Error);
        });
        if (options.steal) {
          const was = q.shift();
          was?.end(Object.assign(new Error("stolen"), { name: "AbortError" }));
          q.unshift(me);
        } else {
          q.push(me);
        }
        if (q[0] === me) me.grant();
      });
    };
    return { request: request as LockManager["request"] };
  }
}
