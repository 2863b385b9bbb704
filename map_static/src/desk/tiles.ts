/**
 * What waits and what is open all around, beneath what belongs to the report on the screen: the desk's own tiles.
 *
 * Their address holds for some minutes (docs/decisions/0032); the next one is asked for before it ends. Without them the
 * map is what it was.
 */

import type { Map as Canvas, VectorTileSource } from "maplibre-gl";

interface Address {
  readonly tiles: { readonly reports: string };
  readonly minzoom: number;
  readonly maxzoom: number;
  readonly expires_at: string;
}

const SOURCE = "desk-tiles";
const AHEAD_MS = 60_000;
const AGAIN_MS = 60_000; // after a failure
const LEVEL_INK = ["match", ["get", "severity"], 4, "#d1242f", 3, "#f07800", 2, "#e8b500", "#1f6fd6"] as const;
const SIZE = ["interpolate", ["linear"], ["get", "count"], 1, 4, 10, 8, 100, 14, 1000, 20] as const;

/** Add the tiles that `address` tells of to a map, and keep them valid while the page is open. */
export async function addDeskTiles(map: Canvas, address: string, origin: string = location.origin): Promise<void> {
  const found = await read(address);
  if (!found) return;
  map.addSource(SOURCE, { type: "vector", tiles: [origin + found.tiles.reports], minzoom: found.minzoom, maxzoom: found.maxzoom });
  const before = map.getLayer("desk-zones-fill") ? "desk-zones-fill" : undefined;
  map.addLayer(
    {
      id: "desk-tiles-reports",
      type: "circle",
      source: SOURCE,
      "source-layer": "reports",
      paint: { "circle-radius": [...SIZE] as never, "circle-color": "#52636e", "circle-opacity": 0.55, "circle-stroke-color": "#ffffff", "circle-stroke-width": 1 },
    },
    before,
  );
  map.addLayer(
    {
      id: "desk-tiles-incidents",
      type: "circle",
      source: SOURCE,
      "source-layer": "incidents",
      paint: { "circle-radius": [...SIZE] as never, "circle-color": [...LEVEL_INK] as never, "circle-opacity": 0.7, "circle-stroke-color": "#ffffff", "circle-stroke-width": 1.5 },
    },
    before,
  );
  keepValid(map, address, origin, untilNext(found.expires_at, Date.now()));
}

/** Milliseconds until the address is asked for again; never at once, whatever the clocks say. */
export function untilNext(expiresAt: string, now: number): number {
  const left = Date.parse(expiresAt) - now - AHEAD_MS;
  return Number.isFinite(left) ? Math.max(left, AGAIN_MS) : AGAIN_MS;
}

function keepValid(map: Canvas, address: string, origin: string, afterMs: number): void {
  setTimeout(() => {
    void read(address).then((found) => {
      if (found) map.getSource<VectorTileSource>(SOURCE)?.setTiles([origin + found.tiles.reports]);
      keepValid(map, address, origin, found ? untilNext(found.expires_at, Date.now()) : AGAIN_MS);
    });
  }, afterMs);
}

async function read(address: string): Promise<Address | null> {
  try {
    const answer = await fetch(address, { headers: { Accept: "application/json" } });
    return answer.ok ? ((await answer.json()) as Address) : null;
  } catch {
    return null; // no line: the map stays as it is
  }
}
