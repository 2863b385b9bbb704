/** The map's style, built from our own published files alone: no tiles, no glyph server, no sprite. */

import type { ExpressionSpecification, LayerSpecification, StyleSpecification } from "maplibre-gl";

import { anchorOf } from "../geometry";
import { LEVEL_COLOURS, LEVEL_WIDTHS_PX, toRank, type Rank } from "../levels";
import { nameIn, type Incidents, type WaterFeature, type Waters } from "../published";
import type { Palette } from "./palette";

export const WATERS = "waters";
export const MARKS = "marks";
export const INCIDENTS = "incidents";

const FONT = ["Noto Sans CJK SC,PingFang SC,Microsoft YaHei,sans-serif"];
const LEVEL: ExpressionSpecification = ["coalesce", ["feature-state", "level"], 0];
const IS_LAKE: ExpressionSpecification = ["match", ["geometry-type"], ["Polygon", "MultiPolygon"], true, false];
const IS_RIVER: ExpressionSpecification = ["!", IS_LAKE];
/** Size class of a water, 1 the largest; unknown counts as middling. */
const SIZE: ExpressionSpecification = ["coalesce", ["get", "rank"], 3];

export interface StyleInput {
  readonly waters: Waters;
  readonly incidents: Incidents | null;
  readonly levels: ReadonlyMap<number, Rank>;
  readonly language: string;
  readonly palette: Palette;
}

/** Everything MapLibre needs to draw. Levels are joined by feature state on `feature_id` (`applyLevels`). */
export function buildStyle(input: StyleInput): StyleSpecification {
  return {
    version: 8,
    sources: {
      [WATERS]: { type: "geojson", data: input.waters, promoteId: "feature_id", tolerance: 0.3 },
      [MARKS]: { type: "geojson", data: marksOf(input) },
      ...(input.incidents && {
        [INCIDENTS]: {
          type: "geojson" as const,
          data: input.incidents,
          cluster: true,
          clusterRadius: 44,
          clusterMaxZoom: 9,
          clusterProperties: { worst: ["max", ["get", "severity"]] },
        },
      }),
    },
    layers: [...waterLayers(input.palette), ...nameLayers(input.palette), ...(input.incidents ? incidentLayers() : [])],
  };
}

function byLevel<T extends string | number>(of: Readonly<Record<1 | 2 | 3 | 4, T>>, otherwise: unknown): ExpressionSpecification {
  return ["match", LEVEL, 1, of[1], 2, of[2], 3, of[3], 4, of[4], otherwise] as unknown as ExpressionSpecification;
}

/** Width in pixels: as published at national zoom, growing with zoom; large rivers wider than brooks. */
export function riverWidth(extraPx: number): ExpressionSpecification {
  const quiet: ExpressionSpecification = ["match", SIZE, 1, 2.2, 2, 1.4, 3, 1, 0.7];
  const at = (factor: number): unknown => ["+", ["*", factor, byLevel(LEVEL_WIDTHS_PX, quiet)], extraPx];
  return ["interpolate", ["linear"], ["zoom"], 2, at(0.6), 4, at(1), 9, at(1.7), 14, at(2.6)] as ExpressionSpecification;
}

function waterLayers(palette: Palette): LayerSpecification[] {
  const hovered: ExpressionSpecification = ["boolean", ["feature-state", "hover"], false];
  return [
    { id: "ground", type: "background", paint: { "background-color": palette.ground } },
    {
      id: "lakes",
      type: "fill",
      source: WATERS,
      filter: IS_LAKE,
      paint: {
        "fill-color": byLevel(LEVEL_COLOURS, palette.lake),
        "fill-opacity": ["case", hovered, 0.95, [">", LEVEL, 0], 0.75, 1],
      },
    },
    {
      id: "lakes-line",
      type: "line",
      source: WATERS,
      filter: IS_LAKE,
      paint: { "line-color": byLevel(LEVEL_COLOURS, palette.lakeLine), "line-width": byLevel({ 1: 1.5, 2: 2, 3: 2.5, 4: 3 }, 0.8) },
    },
    {
      id: "rivers-casing",
      type: "line",
      source: WATERS,
      filter: IS_RIVER,
      layout: { "line-cap": "round", "line-join": "round" },
      paint: { "line-color": palette.halo, "line-width": riverWidth(3), "line-opacity": ["case", [">", LEVEL, 0], 1, 0] },
    },
    {
      id: "rivers",
      type: "line",
      source: WATERS,
      filter: IS_RIVER,
      layout: { "line-cap": "round", "line-join": "round", "line-sort-key": ["-", 0, SIZE] },
      paint: {
        "line-color": byLevel(LEVEL_COLOURS, ["case", hovered, palette.label, palette.river]),
        "line-width": riverWidth(0),
      },
    },
  ];
}

function nameLayers(palette: Palette): LayerSpecification[] {
  const paint = { "text-color": palette.label, "text-halo-color": palette.halo, "text-halo-width": 1.6 };
  return [
    {
      id: "level-marks",
      type: "symbol",
      source: MARKS,
      filter: [">", ["get", "level"], 0],
      layout: {
        "icon-image": ["concat", "level-", ["get", "level"]],
        "icon-size": 0.8,
        "symbol-sort-key": ["-", 0, ["get", "level"]],
        "text-field": ["get", "name"],
        "text-font": FONT,
        "text-size": 13,
        "text-variable-anchor": ["left", "right", "bottom", "top"],
        "text-radial-offset": 0.9,
        "text-justify": "auto",
        "text-optional": true,
        "icon-allow-overlap": true,
      },
      paint: { ...paint, "text-color": palette.ink, "text-halo-width": 2 },
    },
    {
      id: "names",
      type: "symbol",
      source: MARKS,
      filter: ["all", ["==", ["get", "level"], 0], ["<=", ["get", "from_zoom"], ["zoom"]]],
      layout: {
        "text-field": ["get", "name"],
        "text-font": FONT,
        "text-size": ["interpolate", ["linear"], ["zoom"], 3, 11, 8, 14],
        "text-letter-spacing": 0.06,
        "text-padding": 6,
        "symbol-sort-key": ["get", "size"],
      },
      paint,
    },
  ];
}

function incidentLayers(): LayerSpecification[] {
  return [
    {
      id: "incident-clusters",
      type: "symbol",
      source: INCIDENTS,
      filter: ["has", "point_count"],
      minzoom: 5,
      layout: {
        "icon-image": ["concat", "level-", ["get", "worst"]],
        "icon-size": 1.5,
        "icon-allow-overlap": true,
        "text-field": ["get", "point_count_abbreviated"],
        "text-font": FONT,
        "text-size": 13,
        "text-allow-overlap": true,
      },
      paint: { "text-color": ["match", ["get", "worst"], 2, "#231b00", 3, "#231100", "#ffffff"] },
    },
    {
      id: "incidents",
      type: "symbol",
      source: INCIDENTS,
      filter: ["!", ["has", "point_count"]],
      minzoom: 5,
      layout: {
        "icon-image": ["concat", "level-", ["get", "severity"]],
        "icon-size": 1.1,
        "icon-allow-overlap": true,
        "symbol-sort-key": ["get", "severity"],
      },
    },
  ];
}

/** One point per water for its name, and for the level's shape where it carries one: on the reach that does. */
export function marksOf(input: Pick<StyleInput, "waters" | "levels" | "language">): GeoJSON.FeatureCollection {
  const byWater = new Map<string, WaterFeature[]>();
  for (const feature of input.waters.features) {
    const known = byWater.get(feature.properties.water);
    if (known) known.push(feature);
    else byWater.set(feature.properties.water, [feature]);
  }
  const features = [...byWater.values()].map((reaches): GeoJSON.Feature => {
    const levelOf = (reach: WaterFeature): Rank => input.levels.get(reach.properties.feature_id) ?? 0;
    const level = toRank(Math.max(...reaches.map(levelOf)));
    const carrying = reaches.filter((reach) => levelOf(reach) === level);
    const chosen = carrying[Math.floor(carrying.length / 2)] as WaterFeature;
    const size = chosen.properties.rank ?? 3;
    return {
      type: "Feature",
      geometry: { type: "Point", coordinates: anchorOf(chosen) },
      properties: {
        name: nameIn(input.language, chosen.properties),
        water: chosen.properties.water,
        level,
        size,
        from_zoom: size <= 1 ? 0 : size + 1.5,
      },
    };
  });
  return { type: "FeatureCollection", features };
}
