import { problem } from "./problem.ts";

/** Something that a person asked for and waits for: whether it is under way, and what came of it. */
export class Attempt {
  busy = $state(false);
  error = $state("");
  done = $state("");

  /** say: what to tell of an error; undefined: as always. */
  async run(work: () => Promise<string | unknown>, say?: (e: unknown) => string | undefined): Promise<boolean> {
    this.forget();
    this.busy = true;
    try {
      const done = await work();
      if (typeof done === "string") this.done = done;
      return true;
    } catch (e) {
      this.error = say?.(e) ?? problem(e);
      return false;
    } finally {
      this.busy = false;
    }
  }

  /** Asks for what was just chosen in a field. If that comes to nothing the field shows again what is so. */
  async choose(field: HTMLInputElement | HTMLSelectElement, work: () => Promise<string | unknown>, is: () => string | boolean): Promise<void> {
    if (await this.run(work)) return;
    const now = is();
    if (typeof now === "boolean") (field as HTMLInputElement).checked = now;
    else field.value = now;
  }

  forget(): void {
    this.error = this.done = "";
  }
}
