/** What a link to the map says: where, which day, what is filtered, in which language. `#map=4.2/30.5/114.3&day=2026-05-01` */

import { EVERYTHING, FACETS, type Choice } from "./choice";

export interface Shared {
  readonly view: { readonly zoom: number; readonly lat: number; readonly lon: number } | null;
  readonly day: string | null;
  readonly choice: Choice;
  readonly isStrong: boolean;
  readonly hidesNear: boolean;
  readonly language: string | null;
}

const VIEW = /^(\d{1,2}(?:\.\d+)?)\/(-?\d{1,2}(?:\.\d+)?)\/(-?\d{1,3}(?:\.\d+)?)$/;
const DAY = /^\d{4}-\d{2}-\d{2}$/;
const DAY_MS = 86_400_000;
/** So many days back the map knows. */
export const DAYS = 365;
/** The days of the published files are days in China. */
const CHINA_MS = 8 * 3_600_000;
/** Web Mercator ends near 85°; the zooms are the map's own. */
export const ZOOMS = { min: 2, max: 17 } as const;
const [LAT_MAX, LON_MAX] = [85, 180];
const VALUE = /^[\w-]{1,40}$/;
const LANGUAGES = ["zh-Hans", "zh-Hant", "en"];

/** Read it; whatever cannot be read counts as not said, and a place off the map is its nearest one. `now` in milliseconds. */
export function readHash(hash: string, now = Date.now()): Shared {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  const place = VIEW.exec(said.get("map") ?? "");
  const day = said.get("day") ?? "";
  const language = said.get("lang") ?? "";
  const chosen = FACETS.map((facet) => [facet, new Set((said.get(facet) ?? "").split(".").filter((value) => VALUE.test(value)))] as const);
  return {
    view: place ? { zoom: within(ZOOMS.min, ZOOMS.max, place[1]), lat: within(-LAT_MAX, LAT_MAX, place[2]), lon: within(-LON_MAX, LON_MAX, place[3]) } : null,
    day: isPast(day, now) ? day : null,
    choice: { ...EVERYTHING, ...Object.fromEntries(chosen) } as Choice,
    isStrong: said.get("strong") === "1",
    hidesNear: said.get("near") === "0",
    language: LANGUAGES.includes(language) ? language : null,
  };
}

/** The day before today by so many, as the files count days. */
export function dayBefore(now: number, days: number): string {
  return new Date(now + CHINA_MS - days * DAY_MS).toISOString().slice(0, 10);
}

/** How many days before today a day is. */
export function daysBack(day: string, now: number): number {
  return Math.round((Date.parse(dayBefore(now, 0)) - Date.parse(day)) / DAY_MS);
}

/** A day of the calendar, before today, of which the map may know something. */
function isPast(day: string, now: number): boolean {
  if (!DAY.test(day)) return false;
  const back = daysBack(day, now);
  return back > 0 && back <= DAYS && dayBefore(now, back) === day; // a 31st of June is none
}

function within(least: number, most: number, number: string | undefined): number {
  return Math.min(most, Math.max(least, Number(number)));
}

/** Write it, without the `#`; the shortest that says the same. */
export function writeHash({ view, day, choice, isStrong, hidesNear, language }: Shared): string {
  const parts: string[] = [];
  if (view) parts.push(`map=${Number(view.zoom.toFixed(2))}/${Number(view.lat.toFixed(4))}/${Number(view.lon.toFixed(4))}`);
  if (day) parts.push(`day=${day}`);
  for (const facet of FACETS) if (choice[facet].size > 0) parts.push(`${facet}=${[...choice[facet]].join(".")}`);
  if (isStrong) parts.push("strong=1");
  if (hidesNear) parts.push("near=0");
  if (language) parts.push(`lang=${language}`);
  return parts.join("&");
}
