/** The positions from to to, both included. */
export interface Range {
  from: number;
  to: number;
}

/**
 * A set of positions: ascending ranges that neither overlap nor touch. The
 * functions on it leave what they are given as it is.
 */
export type Ranges = readonly Range[];

/** The index of the first range that ends at or after n. */
function find(r: Ranges, n: number): number {
  let lo = 0;
  let hi = r.length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (r[mid]!.to < n) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

/** The range that n is in. */
export function rangeAround(r: Ranges, n: number): Range | undefined {
  const g = r[find(r, n)];
  return g && g.from <= n ? g : undefined;
}

/** Whether n is in the set. */
export function hasPosition(r: Ranges, n: number): boolean {
  return rangeAround(r, n) !== undefined;
}

/** The set with from..to; the same when from is above to. */
export function addRange(r: Ranges, from: number, to: number): Ranges {
  if (from > to) return r;
  // Those that overlap from..to, or touch it, become one.
  const i = find(r, from - 1);
  let j = i;
  for (let g = r[j]; g && g.from <= to + 1; g = r[++j]) {
    from = Math.min(from, g.from);
    to = Math.max(to, g.to);
  }
  return [...r.slice(0, i), { from, to }, ...r.slice(j)];
}

/** The set without from..to. */
export function removeRange(r: Ranges, from: number, to: number): Ranges {
  if (from > to) return r;
  const i = find(r, from);
  const rest: Range[] = [];
  let j = i;
  for (let g = r[j]; g && g.from <= to; g = r[++j]) {
    if (g.from < from) rest.push({ from: g.from, to: from - 1 });
    if (g.to > to) rest.push({ from: to + 1, to: g.to });
  }
  return j === i ? r : [...r.slice(0, i), ...rest, ...r.slice(j)];
}
