import { t } from "./strings.ts";

const lang = navigator.language || "en";
const timeFmt = new Intl.DateTimeFormat(lang, { timeStyle: "short" });
const dayFmt = new Intl.DateTimeFormat(lang, { weekday: "long", day: "numeric", month: "long" });
const dayYearFmt = new Intl.DateTimeFormat(lang, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const shortFmt = new Intl.DateTimeFormat(lang, { day: "numeric", month: "short" });
const weekdayFmt = new Intl.DateTimeFormat(lang, { weekday: "short" });
const fullFmt = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short" });

/** 14:05, as the reader's region writes it. */
export function clock(iso: string): string {
  const d = new Date(iso);
  return Number.isNaN(d.getTime()) ? "" : timeFmt.format(d);
}

export function full(iso: string): string {
  const d = new Date(iso);
  return Number.isNaN(d.getTime()) ? "" : fullFmt.format(d);
}

/** The day of a time, as a key: equal means the same day here. */
export function dayKey(iso: string): string {
  const d = new Date(iso);
  return `${d.getFullYear()}-${d.getMonth()}-${d.getDate()}`;
}

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
export function initials(name: string): string {
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
}

const encoder = new TextEncoder();
/** A text's bytes of UTF-8, which is what the server counts. */
export const byteLength = (s: string): number => encoder.encode(s).length;
