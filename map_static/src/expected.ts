/** What is expected to reach which water when, as it is published. See docs/published-map.md for the contract. */

import { toRank, type Rank } from "./levels";
import { readFile, type Manifest } from "./published";

/** One incident's warning of one reach or lake. Times in milliseconds since the epoch, null where they are not known. */
export interface Expected {
  readonly code: string;
  readonly kind: string;
  readonly level: Rank;
  readonly km: number;
  readonly earliest: number | null;
  /** Null beside a known `earliest`: not before then. */
  readonly probable: number | null;
  readonly isLake: boolean;
  readonly isDammed: boolean;
}

export type ExpectedByFeature = ReadonlyMap<number, readonly Expected[]>;

export const NOTHING_EXPECTED: ExpectedByFeature = new Map();

type Steps = readonly (number | null)[];

export interface ExpectedFile {
  readonly incidents: readonly {
    readonly code: string;
    readonly kind: string;
    readonly level: number;
    readonly ids: readonly number[];
    readonly hm: readonly number[];
    readonly from: Steps;
    readonly to: Steps;
    readonly lakes: readonly number[];
    readonly dams: readonly number[];
  }[];
}

const MINUTE_MS = 60_000;

/** By feature, what every incident above it says of it; the gravest and then the soonest first. */
export function decodeExpected(file: ExpectedFile): ExpectedByFeature {
  const found = new Map<number, Expected[]>();
  for (const { code, kind, level, ids, hm, from, to, lakes, dams } of file.incidents) {
    const [features, ways, earliest, probable] = [summed(ids), summed(hm), summed(from), summed(to)];
    const [areLakes, areDammed] = [new Set(lakes), new Set(dams)];
    features.forEach((id, nth) => {
      if (id === null) return;
      const one = {
        code, kind,
        level: toRank(level),
        km: (ways[nth] ?? 0) / 10,
        earliest: instant(earliest[nth]),
        probable: instant(probable[nth]),
        isLake: areLakes.has(nth),
        isDammed: areDammed.has(nth),
      };
      const others = found.get(id);
      if (others) others.push(one);
      else found.set(id, [one]);
    });
  }
  for (const all of found.values()) all.sort(gravestFirst);
  return found;
}

/** Of several parts of one water: each incident once, as it says of the part that it reaches first. */
export function merged(parts: readonly (readonly Expected[])[]): Expected[] {
  const found = new Map<string, Expected>();
  for (const one of parts.flat()) {
    const known = found.get(one.code);
    if (!known || one.km < known.km) found.set(one.code, one);
  }
  return [...found.values()].sort(gravestFirst);
}

/** Nothing where the pointer names no such file: it is an older publication's. Throws what {@link readFile} does. */
export async function readExpected(manifest: Manifest, base: URL): Promise<ExpectedByFeature> {
  if (!manifest.expected) return NOTHING_EXPECTED;
  return decodeExpected(await readFile<ExpectedFile>(new URL(manifest.expected, base)));
}

function gravestFirst(one: Expected, other: Expected): number {
  return other.level - one.level || (one.earliest ?? Infinity) - (other.earliest ?? Infinity) || one.km - other.km;
}

/** Numbers that are written as steps from the last one that is known. */
function summed(steps: Steps): (number | null)[] {
  let last = 0;
  return steps.map((step) => (step === null ? null : (last += step)));
}

function instant(minutes: number | null | undefined): number | null {
  return minutes === null || minutes === undefined ? null : minutes * MINUTE_MS;
}
