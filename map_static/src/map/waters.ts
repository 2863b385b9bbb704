/** What the map's loaded tiles say of waters: their names, and where they lie. */

import type { GeoJSONFeature, Map as Canvas } from "maplibre-gl";

import { boundsOf, type Bounds } from "../geometry";
import { nameIn, type WaterProperties } from "../published";
import { WATERS, WATER_LAYERS } from "./style";

/** The features of the tiles that are loaded, of one layer of the archive. */
export function loaded(map: Canvas, layer: "rivers" | "lakes" | "labels"): GeoJSONFeature[] {
  return map.querySourceFeatures(WATERS, { sourceLayer: layer, validate: false });
}

/** The ids and the box of one water, as far as it is loaded. */
export function partsOf(map: Canvas, water: string): { readonly ids: ReadonlySet<number>; readonly bounds: Bounds | null } {
  const found = WATER_LAYERS.flatMap((layer) => map.querySourceFeatures(WATERS, { sourceLayer: layer, filter: ["==", ["get", "w"], water], validate: false }));
  return { ids: new Set(found.map((feature) => Number(feature.id))), bounds: boundsOf(found.map((feature) => feature.geometry)) };
}

/** The box of some features, as far as they are loaded. */
export function boundsOfIds(map: Canvas, ids: readonly number[]): Bounds | null {
  if (ids.length === 0) return null;
  const found = WATER_LAYERS.flatMap((layer) => map.querySourceFeatures(WATERS, { sourceLayer: layer, filter: ["match", ["id"], [...new Set(ids)], true, false], validate: false }));
  return boundsOf(found.map((feature) => feature.geometry));
}

/** Names by public id, of whatever is loaded. */
export function namesOf(map: Canvas, language: string): Map<string, string> {
  const names = new Map<string, string>();
  for (const { properties } of loaded(map, "labels")) {
    const water = properties as WaterProperties;
    const name = nameIn(language, water);
    if (name) names.set(water.w, name);
  }
  return names;
}
