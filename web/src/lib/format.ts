import { t } from "./strings.ts";

const lang = navigator.language || "en";
const timeFmt = new Intl.DateTimeFormat(lang, { timeStyle: "short" });
const dayFmt = new Intl.DateTimeFormat(lang, { weekday: "long", day: "numeric", month: "long" });
const dayYearFmt = new Intl.DateTimeFormat(lang, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const shortFmt = new Intl.DateTimeFormat(lang, { day: "numeric", month: "short" });
const weekdayFmt = new Intl.DateTimeFormat(lang, { weekday: "short" });
const fullFmt = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short" });

/** Remembers what f made of a key: making it again costs more in a busy chat. */
function remembering<T>(f: (key: string) => T): (key: string) => T {
  const known = new Map<string, T>();
  return (key) => {
    let v = known.get(key);
    if (v === undefined) {
      if (known.size > 1000) known.clear();
      known.set(key, (v = f(key)));
    }
    return v;
  };
}

// Times of one minute look the same, and are of the same day.
const minute = (iso: string) => (iso.endsWith("Z") && iso.length > 16 ? iso.slice(0, 16) + "Z" : iso);

const clockOf = remembering((iso) => {
  const d = new Date(iso);
  return Number.isNaN(d.getTime()) ? "" : timeFmt.format(d);
});
/** 14:05, as the reader's region writes it. */
export const clock = (iso: string): string => clockOf(minute(iso));

export function full(iso: string): string {
  const d = new Date(iso);
  return Number.isNaN(d.getTime()) ? "" : fullFmt.format(d);
}

const dayOf = remembering((iso) => {
  const d = new Date(iso);
  return `${d.getFullYear()}-${d.getMonth()}-${d.getDate()}`;
});
/** The day of a time, as a key: equal means the same day here. */
export const dayKey = (iso: string): string => dayOf(minute(iso));

function daysAgo(d: Date): number {
  const a = new Date(d.getFullYear(), d.getMonth(), d.getDate());
  const now = new Date();
  const b = new Date(now.getFullYear(), now.getMonth(), now.getDate());
  return Math.round((b.getTime() - a.getTime()) / 86_400_000);
}

/** For day separators: Today, Yesterday, Monday, 3 November. */
export function day(iso: string): string {
  const d = new Date(iso);
  if (Number.isNaN(d.getTime())) return "";
  const n = daysAgo(d);
  if (n === 0) return t.chat.today;
  if (n === 1) return t.chat.yesterday;
  return (d.getFullYear() === new Date().getFullYear() ? dayFmt : dayYearFmt).format(d);
}

/** For the list of chats: a time today, a weekday this week, else a date. */
export function brief(iso: string): string {
  const d = new Date(iso);
  if (Number.isNaN(d.getTime())) return "";
  const n = daysAgo(d);
  if (n <= 0) return timeFmt.format(d);
  if (n < 7) return weekdayFmt.format(d);
  return shortFmt.format(d);
}

/** A colour's hue for an id: the same on all devices. */
export function hue(id: string): number {
  let h = 2166136261;
  for (let i = 0; i < id.length; i++) h = Math.imul(h ^ id.charCodeAt(i), 16777619);
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return ((h ^ (h >>> 16)) >>> 0) % 360;
}

const graphemes = new Intl.Segmenter(lang, { granularity: "grapheme" });

/** Up to two letters that stand for a name. */
export const initials = remembering((name) => {
  const words = name.split(/[\s._-]+/).filter((w) => /[\p{L}\p{N}\p{Extended_Pictographic}]/u.test(w));
  const first = (w: string | undefined) => {
    for (const { segment } of graphemes.segment((w ?? "").slice(0, 40))) {
      if (/[\p{L}\p{N}\p{Extended_Pictographic}]/u.test(segment)) return segment;
    }
    return "";
  };
  const a = first(words[0]);
  const b = words.length > 1 ? first(words[words.length - 1]) : "";
  return ((a + b) || "?").toLocaleUpperCase(lang);
});

const encoder = new TextEncoder();
/** A text's bytes of UTF-8, which is what the server counts. */
export const byteLength = (s: string): number => encoder.encode(s).length;

/** What can be sent of a text: blanks at its end are not, and what came with a paste and is no character cannot be (docs/protocol.md#strictness). */
export const sendable = (s: string): string => s.replaceAll("\0", "").replace(/\p{Cs}/gu, "\ufffd").trimEnd();

// What a text is looked for by has these otherwise, as the server does (docs/protocol.md#find).
const plainly: Record<string, string> = { ł: "l", đ: "d", ð: "d", ø: "o", ħ: "h", ŧ: "t", þ: "th", ß: "ss", æ: "ae", œ: "oe", ς: "σ" };

/** A text as it is looked for: without case, without marks on letters, and without letters that few have keys for. */
export const fold = (s: string) => s.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/[łđðøħŧþßæœς]/g, (c) => plainly[c]!);

/** The words of a text, folded. */
export const words = (s: string) => fold(s).split(/[^\p{L}\p{N}]+/u).filter(Boolean);
