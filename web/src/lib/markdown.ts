// Markdown, the part of it that a chat needs, into a tree; draw.ts makes elements
// of it. Text stays text: nothing here or there makes HTML of a string.
//
// Time is linear in the text's length, nesting is bounded: whoever wrote the
// message may be no friend.

export type Inline =
  | { t: "text"; text: string }
  | { t: "br" }
  | { t: "code"; text: string }
  | { t: "strong" | "em" | "del"; kids: Inline[] }
  | { t: "link"; href: string; kids: Inline[] }
  | { t: "mention"; name: string };

export type Block =
  | { t: "p"; kids: Inline[] }
  | { t: "heading"; kids: Inline[] }
  | { t: "code"; lang: string; text: string }
  | { t: "quote"; kids: Block[] }
  | { t: "list"; ordered: boolean; start: number; items: Inline[][] };

const maxQuotes = 4;

const fence = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]{0,24})\s*$/;
const quote = /^ {0,3}> ?/;
const bullet = /^ {0,3}[-*+] +(?=\S)/;
const number = /^ {0,3}(\d{1,9})[.)] +(?=\S)/;
const heading = /^ {0,3}#{1,3} +(?=\S)/;

/** Parses a message's content. */
export function parse(content: string): Block[] {
  return blocks(content.replace(/\r\n?/g, "\n").split("\n"), 0);
}

function blocks(lines: string[], depth: number): Block[] {
  const out: Block[] = [];
  let para: string[] = [];
  const flush = () => {
    while (para.length && para[para.length - 1]!.trim() === "") para.pop();
    if (para.length) out.push({ t: "p", kids: inline(para.join("\n")) });
    para = [];
  };
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i]!;
    const open = fence.exec(line);
    if (open) {
      flush();
      const mark = open[1]!;
      const body: string[] = [];
      for (i++; i < lines.length; i++) {
        const end = fence.exec(lines[i]!);
        if (end && end[1]![0] === mark[0] && end[1]!.length >= mark.length && !end[2]) break;
        body.push(lines[i]!);
      }
      out.push({ t: "code", lang: open[2] ?? "", text: body.join("\n") });
      continue;
    }
    if (depth < maxQuotes && quote.test(line)) {
      flush();
      const body: string[] = [];
      for (; i < lines.length && quote.test(lines[i]!); i++) body.push(lines[i]!.replace(quote, ""));
      i--;
      out.push({ t: "quote", kids: blocks(body, depth + 1) });
      continue;
    }
    const kind = bullet.test(line) ? bullet : number.test(line) ? number : null;
    if (kind) {
      flush();
      const ordered = kind === number;
      const start = ordered ? Number(number.exec(line)![1]) : 1;
      const items: string[][] = [];
      for (; i < lines.length; i++) {
        const l = lines[i]!;
        if (kind.test(l)) items.push([l.replace(kind, "")]);
        else if (/^\s{2,}\S/.test(l)) items[items.length - 1]!.push(l.trim());
        else break;
      }
      i--;
      out.push({ t: "list", ordered, start, items: items.map((it) => inline(it.join("\n"))) });
      continue;
    }
    if (heading.test(line)) {
      flush();
      out.push({ t: "heading", kids: inline(line.replace(heading, "")) });
      continue;
    }
    if (line.trim() === "") {
      // A blank line parts paragraphs.
      flush();
      continue;
    }
    para.push(line);
  }
  flush();
  return out;
}

const punctuation = /[!-/:-@[-`{-~]/;
const wordChar = /[\p{L}\p{N}_]/u;
// Where a scan of plain text has to stop and look.
const special = /[\\`*_~[\]\n@hHmM]/g;
const url = /^(?:https?:\/\/|mailto:)[^\s<>"\u0000-\u001f\u007f\u200e\u200f\u202a-\u202e\u2066-\u2069]{1,2000}/i;
const mention = /^@([a-z0-9][a-z0-9._-]{0,31})/i;

interface Opener {
  mark: string; // "*", "**", "~~", "["...
  at: number; // in out, of the text node that shows it
}

/** Parses what stands in a line: marks, links, code, mentions. */
export function inline(src: string): Inline[] {
  const out: Inline[] = [];
  const openers: Opener[] = [];
  const noCloser = new Set<number>(); // lengths of backtick runs that nothing closes further on
  let text = "";
  let i = 0;
  const flush = () => {
    if (text) out.push({ t: "text", text });
    text = "";
  };
  const wrap = (at: number, node: (kids: Inline[]) => Inline) => {
    const kids = out.splice(at + 1);
    out[at] = node(kids);
  };
  while (i < src.length) {
    special.lastIndex = i;
    const hit = special.exec(src);
    if (!hit) {
      text += src.slice(i);
      break;
    }
    text += src.slice(i, hit.index);
    i = hit.index;
    const c = src[i]!;
    const prev = i > 0 ? src[i - 1]! : " ";

    if (c === "\\") {
      const next = src[i + 1];
      if (next !== undefined && punctuation.test(next)) {
        text += next;
        i += 2;
      } else {
        text += c;
        i++;
      }
      continue;
    }
    if (c === "\n") {
      flush();
      out.push({ t: "br" });
      i++;
      continue;
    }
    if (c === "`") {
      let n = 1;
      while (src[i + n] === "`") n++;
      const end = noCloser.has(n) ? -1 : closing(src, i + n, n);
      if (end < 0) {
        noCloser.add(n);
        text += src.slice(i, i + n);
        i += n;
        continue;
      }
      flush();
      let code = src.slice(i + n, end);
      if (/^ .*\S.* $/s.test(code)) code = code.slice(1, -1);
      out.push({ t: "code", text: code.replaceAll("\n", " ") });
      i = end + n;
      continue;
    }
    if (c === "@") {
      const m = wordChar.test(prev) ? null : mention.exec(src.slice(i, i + 40));
      if (m) {
        flush();
        const name = m[1]!.replace(/[._-]+$/, "");
        out.push({ t: "mention", name });
        i += 1 + name.length;
      } else {
        text += c;
        i++;
      }
      continue;
    }
    if (c === "h" || c === "H" || c === "m" || c === "M") {
      const m = wordChar.test(prev) ? null : url.exec(src.slice(i, i + 2010));
      const found = m ? trimURL(m[0]) : "";
      const href = found ? safeURL(found) : null;
      if (href && !openers.some((o) => o.mark === "[")) {
        flush();
        out.push({ t: "link", href, kids: [{ t: "text", text: found }] });
        i += found.length;
      } else {
        text += c;
        i++;
      }
      continue;
    }
    if (c === "[") {
      // A picture elsewhere is a link to it: nothing is loaded from there.
      if (text.endsWith("!")) {
        const m = /^\[([^\][\n]{0,200})\]\(([^\s()<>]{1,2000})\)/.exec(src.slice(i, i + 2300));
        const href = m ? safeURL(m[2]!) : null;
        if (m && href) {
          text = text.slice(0, -1);
          flush();
          out.push({ t: "link", href, kids: [{ t: "text", text: m[1] || m[2]! }] });
          i += m[0].length;
          continue;
        }
      }
      flush();
      // One at a time: links in links are no links, and a wall of brackets is cheap.
      for (let k = openers.length - 1; k >= 0; k--) if (openers[k]!.mark === "[") openers.splice(k, 1);
      openers.push({ mark: "[", at: out.length });
      out.push({ t: "text", text: "[" });
      i++;
      continue;
    }
    if (c === "]") {
      const k = openers.findLastIndex((o) => o.mark === "[");
      const target = k >= 0 && src[i + 1] === "(" ? /^\(([^\s()<>]{1,2000}(?:\([^\s()<>]{0,200}\)[^\s()<>]{0,200})?)\)/.exec(src.slice(i + 1, i + 2420)) : null;
      const href = target ? safeURL(target[1]!) : null;
      if (target && href) {
        flush();
        const at = openers[k]!.at;
        openers.length = k;
        if (at === out.length - 1) {
          out[at] = { t: "link", href, kids: [{ t: "text", text: target[1]! }] };
        } else {
          wrap(at, (kids) => ({ t: "link", href, kids }));
        }
        i += 1 + target[0].length;
        continue;
      }
      if (k >= 0) openers.splice(k, 1);
      text += c;
      i++;
      continue;
    }
    // * ** _ __ ~~
    let n = 1;
    while (src[i + n] === c) n++;
    const next = src[i + n] ?? " ";
    const opens = !/\s/.test(next) && (c !== "_" || !wordChar.test(prev));
    const closes = !/\s/.test(prev) && (c !== "_" || !wordChar.test(next));
    if (n > 3 || (c === "~" && n !== 2)) {
      text += src.slice(i, i + n);
      i += n;
      continue;
    }
    i += n;
    let left = n;
    if (closes) {
      flush();
      while (left > 0) {
        const k = openers.findLastIndex((o) => o.mark[0] === c && o.mark.length <= left);
        if (k < 0) break;
        const o = openers[k]!;
        if (o.at === out.length - 1) break; // nothing between them
        openers.length = k;
        const kind = c === "~" ? "del" : o.mark.length === 2 ? "strong" : "em";
        wrap(o.at, (kids) => ({ t: kind, kids }));
        left -= o.mark.length;
      }
    }
    if (left > 0 && opens && openers.length < 32) {
      flush();
      const marks = left === 3 ? [c + c, c] : [c.repeat(left)];
      for (const mark of marks) {
        openers.push({ mark, at: out.length });
        out.push({ t: "text", text: mark });
      }
      left = 0;
    }
    text += c.repeat(left);
  }
  flush();
  return out;
}

function closing(src: string, from: number, n: number): number {
  for (let i = src.indexOf("`", from); i >= 0; ) {
    let m = 1;
    while (src[i + m] === "`") m++;
    if (m === n) return i;
    i = src.indexOf("`", i + m);
  }
  return -1;
}

// A sentence's end is not the address's.
function trimURL(s: string): string {
  let end = s.length;
  while (end > 0) {
    const c = s[end - 1]!;
    if (/[.,;:!?'"*_~\]}]/.test(c)) end--;
    else if (c === ")" && count(s, ")", end) > count(s, "(", end)) end--;
    else break;
  }
  return s.slice(0, end);
}

function count(s: string, c: string, end: number): number {
  let n = 0;
  for (let i = 0; i < end; i++) if (s[i] === c) n++;
  return n;
}

/** An address that a link may have, or null: http, https, mailto only. */
export function safeURL(s: string): string | null {
  if (!/^(?:https?:\/\/|mailto:)/i.test(s)) return null;
  try {
    const u = new URL(s);
    if (u.protocol === "mailto:") return u.href;
    if ((u.protocol !== "http:" && u.protocol !== "https:") || u.username || u.password) return null;
    return u.href;
  } catch {
    return null;
  }
}

/** Whether a text is nothing but up to six emoji, which are shown large. */
export function onlyEmoji(s: string): boolean {
  const t = s.trim();
  return t.length <= 64 && /^(?:(?:\p{RI}\p{RI}|\p{Emoji_Presentation}|\p{Emoji}\uFE0F)(?:\p{EMod}|\uFE0F|\u20E3|\u200D\p{Emoji})*\s*){1,6}$/u.test(t);
}

/** A text in one line, without its marks, for previews and quotes. */
export function plain(content: string, max = 160): string {
  const words = (kids: Inline[]): string =>
    kids.map((k) => (k.t === "text" || k.t === "code" ? k.text : k.t === "br" ? " " : k.t === "mention" ? "@" + k.name : words(k.kids))).join("");
  const lines = (bs: Block[]): string =>
    bs.map((b) => (b.t === "code" ? b.text : b.t === "quote" ? lines(b.kids) : b.t === "list" ? b.items.map(words).join(", ") : words(b.kids))).join(" ");
  const one = lines(parse(content.slice(0, max * 8))).replace(/\s+/g, " ").trim();
  return one.length > max ? one.slice(0, max - 1) + "…" : one;
}
