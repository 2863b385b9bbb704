/** The map's search: the same box as in the report, over the application's names; without it over what is in view. */

import { PlaceSearch, type FoundPlace } from "../report/search";
import type { Live } from "./live";
import { markWater } from "./list";
import { searchKnown } from "./known";

const MARKED_MS = 6000;
const CLOSEST_ZOOM = 12;

export function connect(live: Live, input: HTMLInputElement): void {
  const [list, status] = [document.getElementById("map-found"), document.getElementById("map-search-status")];
  if (!list || !status) return;
  new PlaceSearch(input, list, status, live.words, {
    near: () => {
      const { lng, lat } = live.map.getCenter();
      return { lon: lng, lat };
    },
    known: (words) => searchKnown(live.map, live.published, words, live.language),
    go: (found) => Promise.resolve(go(live, found)),
  });
  // What was typed before the code arrived.
  if (input.value.trim()) input.dispatchEvent(new InputEvent("input"));
}

function go(live: Live, found: FoundPlace): boolean {
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  live.map.fitBounds([...found.bbox] as [number, number, number, number], { padding: 40, maxZoom: CLOSEST_ZOOM, duration: isCalm ? 0 : 900 });
  live.map.once("idle", () => {
    const { water } = found;
    if (!water) return; // an area
    markWater(live.map, water, true);
    setTimeout(() => markWater(live.map, water, false), MARKED_MS);
  });
  return true;
}
