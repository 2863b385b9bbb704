/**
 * Where the map was last looked at, so that it opens there without a network. Coarse on purpose: whoever finds it on the
 * phone learns a region and no bank of a river.
 */

import type { Bounds } from "../geometry";
import { isLeaving } from "../leave";

const KEY = "map-area";
/** About ten kilometres. */
const GRID_DEG = 0.1;
/** A wider view shows half a country, which is where the map opens anyway. */
const WIDEST_DEG = 5;

export function readArea(): Bounds | null {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? "null");
    return Array.isArray(kept) && kept.length === 4 && kept.every(Number.isFinite) ? (kept as unknown as Bounds) : null;
  } catch {
    return null; // nothing kept, or a browser that keeps nothing
  }
}

export function keepArea(view: Bounds): void {
  const area = coarse(view);
  if (!area || isLeaving()) return; // a map that is being hidden moves once more
  try {
    localStorage.setItem(KEY, JSON.stringify(area));
  } catch {
    return; // then it opens on the whole country
  }
}

/** The view widened to the grid, or null where it is too wide to be worth keeping. */
export function coarse([west, south, east, north]: Bounds): Bounds | null {
  if (east - west > WIDEST_DEG) return null;
  const down = (degrees: number): number => Number((Math.floor(degrees / GRID_DEG) * GRID_DEG).toFixed(1));
  const up = (degrees: number): number => Number((Math.ceil(degrees / GRID_DEG) * GRID_DEG).toFixed(1));
  return [down(west), down(south), up(east), up(north)];
}
