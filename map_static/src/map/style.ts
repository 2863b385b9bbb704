/** The map's style, built from our own published files alone: no foreign tiles, no glyph server, no sprite. */

import type { ExpressionSpecification, FilterSpecification, LayerSpecification, StyleSpecification } from "maplibre-gl";

import { groupByRank, LEVEL_COLOURS, LEVEL_WIDTHS_PX, RANKS } from "../levels";
import type { Levels } from "../published";
import type { Palette } from "./palette";

export const WATERS = "waters";
export const WATER_LAYERS = ["rivers", "lakes"] as const;
export const MARK_LAYERS = ["river-marks", "lake-marks"] as const;
export const STRONG_LAYERS = ["rivers-strong-1", "rivers-strong-2", "rivers-strong-3"] as const;
export const SUMS = "sums";
export const INCIDENTS = "incidents";
/** From here on single incidents are shown, below it their sums. */
export const DETAIL_ZOOM = 5.5;
/** A source of another's tiles goes under this layer. */
export const LOWEST_WATER = "zones-fill";

const FONT = ["Noto Sans CJK SC,PingFang SC,Microsoft YaHei,sans-serif"];
const LEVEL: ExpressionSpecification = ["coalesce", ["feature-state", "level"], 0];
const NEAR: ExpressionSpecification = ["coalesce", ["feature-state", "near"], 0];
const FOCUS: ExpressionSpecification = ["boolean", ["feature-state", "focus"], false];
/** Size class of a water, 1 the largest; unknown counts as middling. */
const SIZE: ExpressionSpecification = ["coalesce", ["get", "o"], 3];
const NOTHING: FilterSpecification = ["==", ["id"], -1];
const EMPTY = { type: "FeatureCollection" as const, features: [] };

export interface StyleInput {
  /** Closer than `maxZoom` the last tiles are drawn larger. */
  readonly tiles: { readonly address: string; readonly maxZoom: number };
  readonly levels: Levels;
  readonly language: string;
  readonly palette: Palette;
  readonly hasIncidents: boolean;
}

/** Everything MapLibre needs to draw. Colours follow feature state (`colours.ts`); what patterns need goes by id. */
export function buildStyle(input: StyleInput): StyleSpecification {
  const points = { type: "geojson" as const, data: EMPTY, cluster: true };
  return {
    version: 8,
    sources: {
      [WATERS]: { type: "vector", tiles: [input.tiles.address], minzoom: 0, maxzoom: input.tiles.maxZoom },
      ...(input.hasIncidents && {
        [SUMS]: { ...points, clusterRadius: 56, clusterMaxZoom: 6, maxzoom: 7, clusterProperties: { count: ["+", ["get", "count"]], worst: ["max", ["get", "worst"]] } },
        [INCIDENTS]: { ...points, clusterRadius: 40, clusterMaxZoom: 10, clusterProperties: { count: ["+", 1], worst: ["max", ["get", "severity"]] } },
      }),
    },
    layers: [
      { id: "ground", type: "background", paint: { "background-color": input.palette.ground } },
      ...zoneLayers(input.palette),
      ...lakeLayers(input),
      ...riverLayers(input),
      ...nameLayers(input),
      ...markLayers(input.levels),
      ...(input.hasIncidents ? incidentLayers() : []),
    ],
  };
}

/** The parts of a style that change with the levels by id: filters and patterns, by layer. */
export function partsByLevel(levels: Levels): Readonly<Record<string, { readonly filter: FilterSpecification; readonly pattern?: ExpressionSpecification; readonly icon?: ExpressionSpecification }>> {
  const [confirmed, approaching] = [groupByRank(levels.confirmed), groupByRank(levels.approaching)];
  const coloured = among([...levels.confirmed.keys()]);
  const near = among([...levels.approaching.keys()]);
  return {
    "lakes-pattern": { filter: coloured, pattern: byId(confirmed, "fill-") },
    "lakes-approaching": { filter: near, pattern: byId(approaching, "hatch-") },
    "rivers-approaching-casing": { filter: near },
    "rivers-approaching": { filter: near },
    "rivers-casing": { filter: coloured },
    "rivers-coloured": { filter: coloured },
    ...Object.fromEntries(([1, 2, 3] as const).map((rank) => [`rivers-strong-${rank}`, { filter: among(confirmed[rank]) }])),
    "river-marks": { filter: coloured, icon: byId(confirmed, "level-") },
    "lake-marks": { filter: coloured, icon: byId(confirmed, "level-") },
  };
}

function among(ids: readonly number[]): FilterSpecification {
  // `match` looks an id up at once; `in` would go through the whole list for every feature.
  return ids.length === 0 ? NOTHING : (["match", ["id"], [...ids], true, false] as FilterSpecification);
}

function byId(groups: Readonly<Record<1 | 2 | 3 | 4, readonly number[]>>, prefix: string): ExpressionSpecification {
  const cases = RANKS.filter((rank) => groups[rank].length > 0).flatMap((rank) => [[...groups[rank]], prefix + rank]);
  return (cases.length === 0 ? ["literal", `${prefix}1`] : ["match", ["id"], ...cases, `${prefix}1`]) as ExpressionSpecification;
}

function byLevel<T extends string | number>(of: Readonly<Record<1 | 2 | 3 | 4, T>>, otherwise: unknown, level = LEVEL): ExpressionSpecification {
  return ["match", level, 1, of[1], 2, of[2], 3, of[3], 4, of[4], otherwise] as unknown as ExpressionSpecification;
}

/** How much of the white pattern shows on a coloured lake. */
export function patternOpacity(opacity: number): ExpressionSpecification {
  return ["case", [">", LEVEL, 0], opacity, 0];
}

export function markOpacity(): ExpressionSpecification {
  return ["case", [">", LEVEL, 0], 1, 0];
}

/** Where what is and what comes meet, what is counts. */
function isNearAlone(): ExpressionSpecification {
  return ["case", ["all", [">", NEAR, 0], ["==", LEVEL, 0]], 1, 0];
}

export function markSize(isStrong: boolean): number {
  return isStrong ? 0.95 : 0.72;
}

/** Width in pixels: as published at national zoom, growing with zoom; large rivers wider than brooks. */
export function riverWidth(extraPx: number, level = LEVEL): ExpressionSpecification {
  const quiet: ExpressionSpecification = ["match", SIZE, 1, 2, 2, 1.3, 3, 0.9, 0.6];
  const at = (factor: number): unknown => ["+", ["*", factor, byLevel(LEVEL_WIDTHS_PX, quiet, level)], extraPx];
  return ["interpolate", ["linear"], ["zoom"], 2, at(0.6), 4, at(1), 9, at(1.7), 14, at(2.6)] as ExpressionSpecification;
}

/** A name in the viewer's language, else in Chinese, else in English. */
export function nameField(language: string): ExpressionSpecification {
  const order = { "zh-Hant": ["nt", "n", "ne"], en: ["ne", "n"] }[language] ?? ["n", "ne"];
  return ["coalesce", ...order.map((key) => ["get", key]), ""] as unknown as ExpressionSpecification;
}

function water(id: string, from: "rivers" | "lakes"): { id: string; source: string; "source-layer": string } {
  return { id, source: WATERS, "source-layer": from };
}

function zoneLayers(palette: Palette): LayerSpecification[] {
  const zone = { source: WATERS, "source-layer": "zones", minzoom: 6 };
  return [
    { id: "zones-fill", type: "fill", ...zone, paint: { "fill-pattern": "zone", "fill-opacity": 0.4 } },
    { id: "zones-line", type: "line", ...zone, paint: { "line-color": palette.zone, "line-width": 1.6, "line-dasharray": [3, 2] } },
  ];
}

function lakeLayers({ palette, levels }: StyleInput): LayerSpecification[] {
  const by = partsByLevel(levels);
  const part = (id: string, opacity: ExpressionSpecification | number): LayerSpecification => ({
    ...water(id, "lakes"),
    type: "fill",
    filter: by[id]?.filter ?? NOTHING,
    paint: { "fill-pattern": by[id]?.pattern ?? "fill-1", "fill-opacity": opacity },
  });
  return [
    {
      ...water("lakes", "lakes"),
      type: "fill",
      paint: { "fill-color": byLevel(LEVEL_COLOURS, palette.lake), "fill-opacity": ["case", [">", LEVEL, 0], 0.82, 1] },
    },
    part("lakes-approaching", isNearAlone()),
    part("lakes-pattern", patternOpacity(0.3)),
    {
      ...water("lakes-line", "lakes"),
      type: "line",
      paint: {
        "line-color": ["case", FOCUS, palette.ink, byLevel(LEVEL_COLOURS, byLevel(LEVEL_COLOURS, palette.lakeLine, NEAR))],
        "line-width": ["case", FOCUS, 3.5, byLevel({ 1: 1.5, 2: 2, 3: 2.5, 4: 3 }, 0.8)],
      },
    },
  ];
}

function riverLayers({ palette, levels }: StyleInput): LayerSpecification[] {
  const by = partsByLevel(levels);
  const round = { "line-cap": "round", "line-join": "round" } as const;
  const line = (id: string, paint: Extract<LayerSpecification, { type: "line" }>["paint"], layout: object = round): LayerSpecification =>
    ({ ...water(id, "rivers"), type: "line", layout, ...(by[id] && { filter: by[id].filter }), paint }) as LayerSpecification;
  const isColoured: ExpressionSpecification = ["case", [">", LEVEL, 0], 1, 0];
  const isNear = isNearAlone();
  return [
    line("rivers", { "line-color": ["case", FOCUS, palette.ink, palette.river], "line-width": riverWidth(0, ["literal", 0] as unknown as ExpressionSpecification) }),
    // Water between the stripes: it is the river that is hatched.
    line("rivers-approaching-casing", { "line-color": palette.river, "line-width": riverWidth(2, NEAR), "line-opacity": isNear }),
    // Butt ends: round ones would close the gaps.
    line("rivers-approaching", { "line-color": byLevel(LEVEL_COLOURS, palette.river, NEAR), "line-width": riverWidth(0, NEAR), "line-opacity": isNear, "line-dasharray": [0.7, 0.7] }, { "line-cap": "butt" }),
    line("rivers-casing", { "line-color": ["case", FOCUS, palette.ink, palette.halo], "line-width": riverWidth(3), "line-opacity": isColoured }),
    line("rivers-coloured", { "line-color": byLevel(LEVEL_COLOURS, palette.river), "line-width": riverWidth(0), "line-opacity": isColoured }),
    // More than width: IV a white thread, III dots, II dashes, I stays whole.
    ...([[1, null], [2, [0.6, 2.4]], [3, [3, 2]]] as const).map(([rank, dashes]) =>
      line(
        `rivers-strong-${rank}`,
        { "line-color": "#ffffff", "line-width": ["interpolate", ["linear"], ["zoom"], 4, 1.2, 9, 2.2, 14, 3.4], "line-opacity": isColoured, ...(dashes && { "line-dasharray": [...dashes] }) },
        { "line-cap": "butt", visibility: "none" },
      ),
    ),
  ];
}

function nameLayers({ palette, language }: StyleInput): LayerSpecification[] {
  const halo = { "text-halo-color": palette.halo, "text-halo-width": 1.6 };
  // A name makes way for a mark, and is left out only where it finds no room at all.
  const movable = { "text-variable-anchor": ["center", "top", "bottom", "left", "right"], "text-radial-offset": 0.9 } as const;
  const text = { "text-field": nameField(language), "text-font": FONT };
  const place = (id: string, filter: FilterSpecification, layout: object): LayerSpecification => ({
    id,
    type: "symbol",
    source: WATERS,
    "source-layer": "places",
    filter,
    layout: { ...text, ...movable, "text-padding": 6, "symbol-sort-key": ["get", "l"], ...layout } as object,
    paint: { ...halo, "text-color": palette.place },
  });
  return [
    place("places", [">", ["get", "l"], 1], { "text-size": ["match", ["get", "l"], 2, 12, 11] }),
    {
      id: "names",
      type: "symbol",
      source: WATERS,
      "source-layer": "labels",
      layout: {
        ...text,
        ...movable,
        "text-variable-anchor": [...movable["text-variable-anchor"]],
        "text-size": ["interpolate", ["linear"], ["zoom"], 3, 11, 8, 14],
        "text-letter-spacing": 0.06,
        "text-padding": 6,
        "symbol-sort-key": SIZE,
      },
      paint: { ...halo, "text-color": palette.label },
    },
    place("provinces", ["==", ["get", "l"], 1], { "text-size": 13, "text-letter-spacing": 0.18 }),
  ];
}

/** The level's shape on each coloured water; where they would cover each other the more serious one stays. */
function markLayers(levels: Levels): LayerSpecification[] {
  const by = partsByLevel(levels);
  const layout = (id: string): object => ({ "icon-image": by[id]?.icon ?? "level-1", "icon-size": markSize(false), "icon-padding": 10 });
  return [
    { ...water("river-marks", "rivers"), type: "symbol", minzoom: 4, filter: by["river-marks"]?.filter ?? NOTHING, layout: { ...layout("river-marks"), "symbol-placement": "line-center", "icon-rotation-alignment": "viewport" }, paint: { "icon-opacity": markOpacity() } },
    { ...water("lake-marks", "lakes"), type: "symbol", minzoom: 4, filter: by["lake-marks"]?.filter ?? NOTHING, layout: layout("lake-marks"), paint: { "icon-opacity": markOpacity() } },
  ];
}

function incidentLayers(): LayerSpecification[] {
  const worst: ExpressionSpecification = ["coalesce", ["get", "worst"], ["get", "severity"]];
  const count: ExpressionSpecification = ["coalesce", ["get", "count"], 1];
  const layer = (id: string, source: string, zooms: { minzoom?: number; maxzoom?: number }): LayerSpecification => ({
    id,
    type: "symbol",
    source,
    ...zooms,
    layout: {
      "icon-image": ["concat", "level-", worst],
      "icon-size": ["step", count, 1.15, 2, 1.5, 100, 1.9],
      "icon-allow-overlap": true,
      "symbol-sort-key": worst,
      "text-field": ["case", [">", count, 1], ["to-string", count], ""],
      "text-font": FONT,
      "text-size": 13,
      "text-allow-overlap": true,
    },
    paint: { "text-color": ["match", worst, 2, "#231b00", 3, "#231100", "#ffffff"] },
  });
  return [layer("incident-sums", SUMS, { maxzoom: DETAIL_ZOOM }), layer("incidents", INCIDENTS, { minzoom: DETAIL_ZOOM })];
}

