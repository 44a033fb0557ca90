import type { Session } from "./session.js";

/** What a tab has on its screen. */
export interface Screen {
  focus?: readonly string[];
  active?: boolean;
  watch?: readonly string[];
}

/** A watch is kept up this long before it is over. */
const watchAhead = 30_000;

/** What is on the screens of all tabs, and what of that the server is told. */
export class Screens {
  #screens = new Map<string, Screen>();
  #watchUntil = 0; // how long the server tells of those who are watched
  #watching = "";

  /** Takes what a tab has on its screen; undefined: the tab is gone. False: it was not there. */
  set(tab: string, screen: Screen | undefined): boolean {
    if (!screen) return this.#screens.delete(tab);
    this.#screens.set(tab, screen);
    return true;
  }

  /** Tells a session what is on the screens. */
  apply(s: Session, now: number): void {
    const all = [...this.#screens.values()];
    const said = all.filter((x) => x.focus !== undefined);
    if (said.length > 0) {
      const focus = [...new Set(said.flatMap((x) => x.focus ?? []))];
      if (!s.focused || focus.join() !== s.focused.join()) s.focus(now, focus);
    }
    if (all.length > 0) {
      const active = all.some((x) => x.active !== false);
      if (active !== (s.active ?? true)) s.setActive(now, active);
    }
    const watch = [...new Set(all.flatMap((x) => x.watch ?? []))].slice(0, 200).join();
    if (watch !== this.#watching) {
      const nobody = watch === "";
      this.#watching = watch;
      this.#watchUntil = 0;
      if (nobody && s.ready) this.#ask(s, now, []);
    }
    this.watch(s, now);
  }

  /** A new connection: nobody is watched there. */
  synced(): void {
    this.#watchUntil = 0;
  }

  /** The clock was put back by so much. */
  putBack(by: number): void {
    if (this.#watchUntil > 0) this.#watchUntil -= by;
  }

  /** When the watch is to be renewed, in ms since 1970; Infinity: there is none. */
  due(s: Session): number {
    return s.ready && this.#watching !== "" && this.#watchUntil > 0 ? this.#watchUntil : Infinity;
  }

  /** Asks for the presence of who is watched, when it is time. */
  watch(s: Session, now: number): void {
    if (this.#watching === "" || s.connection.link !== "online" || now < this.#watchUntil) return;
    this.#watchUntil = now + 60_000; // until the answer says how long
    this.#ask(s, now, this.#watching.split(","));
  }

  /** What comes of it is told, if an answer comes. */
  #ask(s: Session, now: number, user_ids: string[]): void {
    s.askFor(now, "presence.watch", { user_ids }, (at, r, failure) => {
      if (failure) return;
      if (user_ids.length > 0) this.#watchUntil = at + Math.max(r.expires_ms - watchAhead, watchAhead);
      for (const p of r.presence) s.queue.put({ kind: "presence", userId: p.user_id, status: p.status });
    });
  }
}
