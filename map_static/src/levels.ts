/** The four warning levels as a map draws them: colour, width and shape, so that none differs by colour alone. */

export type Rank = 0 | 1 | 2 | 3 | 4;

export const RANKS = [1, 2, 3, 4] as const;

/** The same colours as the server's drawn maps and the badges of the pages. */
export const LEVEL_COLOURS: Readonly<Record<1 | 2 | 3 | 4, string>> = {
  1: "#1f6fd6",
  2: "#e8b500",
  3: "#f07800",
  4: "#d1242f",
};

/** Pixels of a river at national zoom; the closer, the wider (see `style.ts`). */
export const LEVEL_WIDTHS_PX: Readonly<Record<1 | 2 | 3 | 4, number>> = { 1: 3, 2: 4, 3: 5, 4: 6 };

/** Corners in a unit square: IV a disc (empty list), III a diamond, II a triangle, I an octagon. */
export const LEVEL_SHAPES: Readonly<Record<1 | 2 | 3 | 4, ReadonlyArray<readonly [number, number]>>> = {
  1: [],
  2: [
    [0.5, 0],
    [1, 0.5],
    [0.5, 1],
    [0, 0.5],
  ],
  3: [
    [0.5, 0.04],
    [1, 0.92],
    [0, 0.92],
  ],
  4: [
    [0.3, 0],
    [0.7, 0],
    [1, 0.3],
    [1, 0.7],
    [0.7, 1],
    [0.3, 1],
    [0, 0.7],
    [0, 0.3],
  ],
};

/** A number from outside as a rank; what is none of the four is "no warning". */
export function toRank(value: unknown): Rank {
  const number = typeof value === "number" ? value : Number(value);
  return number === 1 || number === 2 || number === 3 || number === 4 ? number : 0;
}

/** Features by level, as a file lists them: ids in ascending order, each but the first as the difference to the one before. */
export type Coded = Readonly<Record<string, readonly number[]>>;

/** Each feature's level. A feature listed twice keeps the higher one; a level that is none of ours is passed over. */
export function decode(coded: Coded | undefined): Map<number, Rank> {
  const levels = new Map<number, Rank>();
  for (const rank of RANKS) {
    let id = 0;
    for (const step of coded?.[String(rank)] ?? []) {
      id += step;
      levels.set(id, rank);
    }
  }
  return levels;
}

/** The ids that carry each level, for filters. */
export function groupByRank(levels: ReadonlyMap<number, Rank>): Readonly<Record<1 | 2 | 3 | 4, number[]>> {
  const groups: Record<1 | 2 | 3 | 4, number[]> = { 1: [], 2: [], 3: [], 4: [] };
  for (const [id, rank] of levels) if (rank > 0) groups[rank as 1 | 2 | 3 | 4].push(id);
  return groups;
}
