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

import type { Levels, Published } from "../published";
import { say, type Words } from "../words";
import { tilesOf } from "./archive";
import { Colours } from "./colours";
import { CannotDraw } from "./frame";
import { ZOOMS } from "./hash";
import { currentPalette, onPaletteChange, type Palette } from "./palette";
import { addImages } from "./patterns";
import { buildStyle } from "./style";

export { Canvas, GeolocateControl, Marker, Popup };

setWorkerUrl(workerUrl);

type Box = [west: number, south: number, east: number, north: number];
/** China and its neighbours' shared rivers; on an upright phone the middle and the east, where most people live. */
const NATIONAL_BOUNDS: Box = [76, 18.5, 132, 52.5];
const NATIONAL_BOUNDS_UPRIGHT: Box = [98, 20, 126, 50];

export interface OpenInput {
  /** Null in an installation's first minutes: an empty ground, on which a pin can be set. */
  readonly published: Pick<Published, "manifest" | "base" | "head"> | null;
  readonly levels: Levels;
  readonly language: string;
  readonly hasIncidents?: boolean;
}

export interface Opened {
  readonly map: Canvas;
  readonly colours: Colours;
}

/**
 * Open a map in a frame; resolves when its style is drawn for the first time.
 * Throws {@link CannotDraw} where the device has no WebGL 2: the caller then shows its own words.
 */
export async function openMap(frame: HTMLElement, input: OpenInput, words: Words, options: Partial<MapOptions> = {}): Promise<Opened> {
  const { published, levels, language } = input;
  const tiles = tilesOf(published);
  const styleIn = (palette: Palette): ReturnType<typeof buildStyle> => buildStyle({ tiles, levels, language, palette, hasIncidents: input.hasIncidents ?? false });
  const canvas = document.createElement("div");
  canvas.className = "map-canvas";
  frame.append(canvas);
  let map: Canvas;
  try {
    map = new Canvas({
      container: canvas,
      style: styleIn(currentPalette()),
      validateStyle: false, // tests do
      ...(!options.center && { bounds: frame.clientHeight > frame.clientWidth ? NATIONAL_BOUNDS_UPRIGHT : NATIONAL_BOUNDS }),
      maxZoom: ZOOMS.max,
      minZoom: ZOOMS.min,
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
    throw new CannotDraw(String(error));
  }
  map.touchZoomRotate.disableRotation();
  map.keyboard.disableRotation();
  addImages(map, currentPalette().ground);
  const colours = new Colours(map, levels);
  onPaletteChange((palette) => repaint(map, styleIn(palette).layers, palette));
  map.on("error", () => undefined); // what a page says of a failure is its own matter; a console is no place for it
  await new Promise<void>((resolve) => map.once("style.load", () => resolve()));
  colours.show(levels);
  if (!map.loaded()) await new Promise<void>((resolve) => map.once("load", () => resolve()));
  return { map, colours };
}

/** Zoom buttons and a scale. Whose data it is stands in the legend (`_maps.html`). */
export function addControls(map: Canvas): void {
  map.addControl(new NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new ScaleControl({ maxWidth: 90, unit: "metric" }), "bottom-left");
}

/** Day or night: only colours change, so levels, filters and whatever layers others have added stay as they are. */
function repaint(map: Canvas, layers: ReturnType<typeof buildStyle>["layers"], palette: Palette): void {
  addImages(map, palette.ground);
  for (const layer of layers) {
    if (!map.getLayer(layer.id)) continue;
    for (const [name, value] of Object.entries(layer.paint ?? {})) {
      if (name.endsWith("-color")) map.setPaintProperty(layer.id, name as "line-color", value as string, { validate: false });
    }
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
