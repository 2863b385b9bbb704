/** The only module that loads MapLibre: import it dynamically, so that pages stay light until a map comes into view. */

import "./old-browsers";
import "maplibre-gl/dist/maplibre-gl.css";

import {
  GeolocateControl,
  Map as Canvas,
  Marker,
  NavigationControl,
  Popup,
  ScaleControl,
  setWorkerUrl,
  type MapOptions,
} from "maplibre-gl";
import workerUrl from "./worker?worker&url";

import { LEVEL_COLOURS, LEVEL_SHAPES, RANKS, toRank, type Rank } from "../levels";
import type { Levels } from "../published";
import { say, type Words } from "../words";
import { currentPalette, onPaletteChange } from "./palette";
import { buildStyle, WATERS, type StyleInput } from "./style";

export { Canvas, GeolocateControl, Marker, Popup };

setWorkerUrl(workerUrl);

type Box = [west: number, south: number, east: number, north: number];
/** China and its neighbours' shared rivers; on an upright phone the middle and the east, where most people live. */
const NATIONAL_BOUNDS: Box = [76, 18.5, 132, 52.5];
const NATIONAL_BOUNDS_UPRIGHT: Box = [98, 20, 126, 50];
const SHAPE_PX = 22;
const PIXEL_RATIO = 2;

export type OpenInput = Omit<StyleInput, "palette" | "levels"> & { readonly levels: Levels };

/**
 * Open a map in a frame; resolves when its style is drawn for the first time.
 * Throws where the device has no WebGL 2: the caller then shows its own words.
 */
export async function openMap(
  frame: HTMLElement,
  input: OpenInput,
  words: Words,
  options: Partial<MapOptions> = {},
): Promise<Canvas> {
  const levels = new Map<number, Rank>(input.levels.map(([id, value]) => [id, toRank(value)]));
  const canvas = document.createElement("div");
  canvas.className = "map-canvas";
  frame.append(canvas);
  let map: Canvas;
  try {
    map = new Canvas({
      container: canvas,
      style: buildStyle({ ...input, levels, palette: currentPalette() }),
      bounds: frame.clientHeight > frame.clientWidth ? NATIONAL_BOUNDS_UPRIGHT : NATIONAL_BOUNDS,
      maxZoom: 17,
      minZoom: 2,
      renderWorldCopies: false,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      attributionControl: false,
      fadeDuration: 100,
      locale: localeOf(words),
      ...options,
    });
  } catch (error) {
    canvas.remove();
    throw error;
  }
  map.touchZoomRotate.disableRotation();
  map.keyboard.disableRotation();
  drawShapes(map);
  onPaletteChange((palette) => map.setStyle(buildStyle({ ...input, levels, palette })));
  map.on("styledata", () => applyLevels(map, levels));
  await new Promise<void>((resolve) => map.once("load", () => resolve()));
  applyLevels(map, levels);
  return map;
}

/** Zoom buttons and a scale. Whose data it is stands in the legend (`_maps.html`). */
export function addControls(map: Canvas): void {
  map.addControl(new NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new ScaleControl({ maxWidth: 90, unit: "metric" }), "bottom-left");
}

function applyLevels(map: Canvas, levels: ReadonlyMap<number, Rank>): void {
  if (!map.getSource(WATERS)) return;
  for (const [id, level] of levels) {
    if (map.getFeatureState({ source: WATERS, id }).level !== level) map.setFeatureState({ source: WATERS, id }, { level });
  }
}

/** The words the page gives; MapLibre's own stand in for what a small map has no need of. */
function localeOf(words: Words): Record<string, string> {
  const given = {
    "Map.Title": say(words, "map_label"),
    "Marker.Title": say(words, "pin") || say(words, "map_label"),
    "NavigationControl.ZoomIn": say(words, "zoom_in"),
    "NavigationControl.ZoomOut": say(words, "zoom_out"),
    "GeolocateControl.FindMyLocation": say(words, "locate"),
    "GeolocateControl.LocationNotAvailable": say(words, "locate_failed"),
    "Popup.Close": say(words, "close"),
  };
  return Object.fromEntries(Object.entries(given).filter(([, text]) => text !== ""));
}

/** The level's shapes as images, drawn here: disc, diamond, triangle, octagon, each with a white rim. */
function drawShapes(map: Canvas): void {
  const size = SHAPE_PX * PIXEL_RATIO;
  for (const rank of RANKS) {
    const context = Object.assign(document.createElement("canvas"), { width: size, height: size }).getContext("2d");
    if (!context) continue;
    context.beginPath();
    const rim = 3 * PIXEL_RATIO;
    const at = ([x, y]: readonly [number, number]): [number, number] => [rim + x * (size - 2 * rim), rim + y * (size - 2 * rim)];
    const corners = LEVEL_SHAPES[rank];
    if (corners.length === 0) context.arc(size / 2, size / 2, size / 2 - rim, 0, 2 * Math.PI);
    else corners.forEach((corner, index) => (index === 0 ? context.moveTo(...at(corner)) : context.lineTo(...at(corner))));
    context.closePath();
    context.lineJoin = "round";
    context.lineWidth = rim * 1.4;
    context.strokeStyle = "#ffffff";
    context.stroke();
    context.fillStyle = LEVEL_COLOURS[rank];
    context.fill();
    map.addImage(`level-${rank}`, context.getImageData(0, 0, size, size), { pixelRatio: PIXEL_RATIO });
  }
}
