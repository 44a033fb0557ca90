import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Session } from "../src/session.js";
import { Play } from "./play.js";

const seeds = Number(process.env["GRIMA_SEEDS"] ?? 1500);

void test(`resume: ${seeds} worlds`, () => {
  for (let seed = 1; seed <= seeds; seed++) {
    try {
      new Play(seed, Session).run();
    } catch (err) {
      throw new Error(`seed ${seed}`, { cause: err });
    }
  }
});

// Whatever makes it right is taken out here, one thing at a time, and the worlds
// have to find that out. Without this nobody would know what one that passes is
// worth.
const src = fileURLToPath(new URL("../src", import.meta.url));
for (const [name, file, from, to] of [
  ["a hole is not seen", "chats.js", "ev.prevSeq <= e.st.pos && f.event", "f.event"],
  ["a gap moves on by itself", "chats.js", `f.event !== "gap" && `, ""],
  ["what comes twice is told twice", "chats.js", "seq <= e.st.pos", "false"],
  ["another epoch is not seen", "session.js", "this.epoch !== r.epoch", "false"],
  ["the cursor moves on before its page is told", "resume.js", "y.tries = 0;", `y.tries = 0; s.queue.put({ kind: "cursor", userId: s.user.user_id, cursor: page.cursor, epoch: s.epoch, complete: true });`],
  ["an answer about a chat that was left is taken", "resume.js", "if (!is(s, e))\n            return; // left", "if (!is(s, e)) s.chats.set(chatId, e); // left"],
  ["who came back has the old chat", "chats.js", "if (joined <= (e.st.joined_seq ?? 0))", "if (true)"],
  ["what changed before it was told is not new", "chats.js", "m.seq > ev.prevSeq || hasPosition(unseen, m.seq)", "m.seq > ev.prevSeq"],
  ["a retry has another id", "sending.js", "client_msg_id: it.id", "client_msg_id: it.id + it.tries"],
  ["what was under way is not sent again", "sending.js", "b.trying = undefined;\n        b.notBefore = 0;", "b.notBefore = 0;"],
  ["no room, and forgotten", "chats.js", "e.live = true;\n    e.st.last_seq = Math.max(e.st.last_seq, seq);", ""],
] as [string, string, string, string][]) {
  void test(`a mistake is found: ${name}`, async () => {
    const dir = mkdtempSync(join(tmpdir(), "grima-"));
    try {
      cpSync(src, dir, { recursive: true });
      writeFileSync(join(dir, "package.json"), `{"type":"module"}`);
      const text = readFileSync(join(dir, file), "utf8");
      assert(text.includes(from), `${file} has no ${from}`);
      writeFileSync(join(dir, file), text.replace(from, to));
      const mod = (await import(pathToFileURL(join(dir, "index.js")).href)) as typeof import("../src/index.js");
      let found = 0;
      for (let seed = 1; found === 0 && seed <= 6000; seed++) {
        try {
          new Play(seed, mod.Session, mod.Timeline).run();
        } catch {
          found = seed;
        }
      }
      assert(found > 0, "6,000 worlds pass with it");
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
}
