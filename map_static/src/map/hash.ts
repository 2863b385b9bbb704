/** What a link to the map says: where, which day, what is filtered, in which language. `#map=4.2/30.5/114.3&day=2026-05-01` */

import { EVERYTHING, FACETS, type Choice } from "./choice";

export interface Shared {
  readonly view: { readonly zoom: number; readonly lat: number; readonly lon: number } | null;
  readonly day: string | null;
  readonly choice: Choice;
  readonly isStrong: boolean;
  readonly language: string | null;
}

const VIEW = /^(\d{1,2}(?:\.\d+)?)\/(-?\d{1,2}(?:\.\d+)?)\/(-?\d{1,3}(?:\.\d+)?)$/;
const DAY = /^\d{4}-\d{2}-\d{2}$/;
const VALUE = /^[\w-]{1,40}$/;
const LANGUAGES = ["zh-Hans", "zh-Hant", "en"];

/** Read it; whatever cannot be read counts as not said. */
export function readHash(hash: string): Shared {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  const place = VIEW.exec(said.get("map") ?? "");
  const day = said.get("day") ?? "";
  const language = said.get("lang") ?? "";
  const chosen = FACETS.map((facet) => [facet, new Set((said.get(facet) ?? "").split(".").filter((value) => VALUE.test(value)))] as const);
  return {
    view: place ? { zoom: Number(place[1]), lat: Number(place[2]), lon: Number(place[3]) } : null,
    day: DAY.test(day) ? day : null,
    choice: { ...EVERYTHING, ...Object.fromEntries(chosen) } as Choice,
    isStrong: said.get("strong") === "1",
    language: LANGUAGES.includes(language) ? language : null,
  };
}

/** Write it, without the `#`; the shortest that says the same. */
export function writeHash({ view, day, choice, isStrong, language }: Shared): string {
  const parts: string[] = [];
  if (view) parts.push(`map=${Number(view.zoom.toFixed(2))}/${Number(view.lat.toFixed(4))}/${Number(view.lon.toFixed(4))}`);
  if (day) parts.push(`day=${day}`);
  for (const facet of FACETS) if (choice[facet].size > 0) parts.push(`${facet}=${[...choice[facet]].join(".")}`);
  if (isStrong) parts.push("strong=1");
  if (language) parts.push(`lang=${language}`);
  return parts.join("&");
}
