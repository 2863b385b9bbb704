/**
 * Where a report is, for the moderator: the exact pin, how exact it is, the point on the water, and what lies around.
 *
 * One map for the whole sitting: its canvas moves from one report's frame into the next one's. Browsers keep few
 * WebGL contexts, and opening one takes longer than showing a report.
 */

import type { ExpressionSpecification, GeoJSONSource, Map as Canvas, Marker, SymbolLayerSpecification } from "maplibre-gl";

import { ringAround } from "../geometry";
import { LEVEL_COLOURS } from "../levels";
import { canDrawMaps, clearFrame, showMessage } from "../map/frame";
import { MANIFEST, readPublished } from "../published";
import { readWords, say } from "../words";
import { addDeskTiles } from "./tiles";

type Pair = readonly [number, number];

interface Around {
  readonly incidents: readonly { readonly at: Pair; readonly severity: number; readonly name: string }[];
  readonly reports: readonly { readonly at: Pair; readonly name: string }[];
  readonly zones: readonly { readonly shape: GeoJSON.Geometry; readonly name: string }[];
}

const CLOSE_ZOOM = 14;
const EDGE_PX = 48;
const LOOK_KM = 0.35; // so far around the pin the map shows at least
const FONT = ["Noto Sans CJK SC,PingFang SC,Microsoft YaHei,sans-serif"];
const NOTHING: Around = { incidents: [], reports: [], zones: [] };
const EMPTY: GeoJSON.FeatureCollection = { type: "FeatureCollection", features: [] };

interface Opened {
  readonly map: Canvas;
  readonly pin: Marker;
}

let opening: Promise<Opened> | null = null;
/** What would be warned below the report on the screen: it may be known before the map is open. */
let below: GeoJSON.FeatureCollection = EMPTY;

/** Show a report's place in its frame; the map is opened with the first. */
export async function showDeskMap(frame: HTMLElement): Promise<void> {
  const words = readWords(frame);
  const pin = pairOf(frame.dataset.lon, frame.dataset.lat);
  if (!pin) return;
  if (!canDrawMaps() && !opening) {
    showMessage(frame, say(words, "unavailable"));
    return;
  }
  try {
    opening ??= open(frame, pin);
    const { map, pin: marker } = await opening;
    if (!frame.isConnected) return; // the next report is on the screen already
    const canvas = map.getContainer();
    if (canvas.parentElement !== frame) {
      frame.append(canvas);
      map.resize();
    }
    marker.setLngLat([...pin]);
    draw(map, frame, pin);
    clearFrame(frame);
    frame.dataset.ready = "yes";
  } catch {
    opening = null;
    showMessage(frame, say(words, "unavailable"));
  }
}

/** Another water chosen in the form moves the point on the water. */
export function moveSnap(chosen: Pair): void {
  const frame = document.querySelector<HTMLElement>("[data-desk-map]");
  const pin = frame && pairOf(frame.dataset.lon, frame.dataset.lat);
  if (!pin) return;
  void opening?.then(({ map }) => {
    map.getSource<GeoJSONSource>("desk-snap")?.setData(lineTo(pin, chosen));
    look(map, [pin, chosen]);
  });
}

/** Show what would be warned below. */
export function drawBelow(drawn: GeoJSON.FeatureCollection): void {
  below = drawn;
  void opening?.then(({ map }) => map.getSource<GeoJSONSource>("desk-below")?.setData(drawn)).catch(() => undefined);
}

/** The whole way at once. */
export function lookBelow(): void {
  const frame = document.querySelector<HTMLElement>("[data-desk-map]");
  const pin = frame && pairOf(frame.dataset.lon, frame.dataset.lat);
  if (!frame || !pin) return;
  frame.scrollIntoView({ block: "nearest" });
  const box = boxOf(below, pin);
  void opening?.then(({ map }) => map.fitBounds(box, { padding: EDGE_PX, maxZoom: CLOSE_ZOOM, duration: 0 })).catch(() => undefined);
}

async function open(frame: HTMLElement, pin: Pair): Promise<Opened> {
  const [published, { addControls, Marker, openMap }] = await Promise.all([
    readPublished(frame.dataset.manifest ?? MANIFEST),
    import("../map/open"),
  ]);
  const language = frame.dataset.language ?? "zh-Hans";
  const { map } = await openMap(frame, { published, levels: published.levels, language }, readWords(frame), { center: [...pin], zoom: CLOSE_ZOOM });
  addControls(map);
  addLayers(map);
  if (frame.dataset.tiles) void addDeskTiles(map, frame.dataset.tiles);
  const marker = new Marker({ color: "#a51c26" }).setLngLat([...pin]).addTo(map);
  map.on("click", ({ lngLat }) => correctTo(marker, lngLat.lng, lngLat.lat));
  return { map, pin: marker };
}

/** While the panel that corrects the place is open, a click says where it is. */
function correctTo(marker: Marker, lon: number, lat: number): void {
  const form = document.querySelector<HTMLFormElement>("#correct-panel[open] form");
  if (!form) return;
  for (const [name, value] of [["lon", lon.toFixed(6)], ["lat", lat.toFixed(6)], ["place_source", "pin"]] as const) {
    const input = form.elements.namedItem(name);
    if (input instanceof HTMLInputElement) input.value = value;
  }
  marker.setLngLat([lon, lat]);
}

function addLayers(map: Canvas): void {
  for (const id of ["desk-zones", "desk-accuracy", "desk-below", "desk-snap", "desk-incidents", "desk-reports"]) map.addSource(id, { type: "geojson", data: EMPTY });
  const text: SymbolLayerSpecification["layout"] = { "text-field": ["get", "name"], "text-font": FONT, "text-size": 12, "text-optional": true };
  const halo = { "text-color": "#1b2931", "text-halo-color": "#ffffff", "text-halo-width": 1.6 } as const;
  map.addLayer({ id: "desk-zones-fill", type: "fill", source: "desk-zones", filter: ["==", ["geometry-type"], "Polygon"], paint: { "fill-color": "#256b4d", "fill-opacity": 0.12 } });
  map.addLayer({ id: "desk-zones-line", type: "line", source: "desk-zones", paint: { "line-color": "#256b4d", "line-width": 2, "line-dasharray": [3, 2] } });
  map.addLayer({ id: "desk-intakes", type: "circle", source: "desk-zones", filter: ["==", ["geometry-type"], "Point"], paint: { "circle-radius": 7, "circle-color": "#256b4d", "circle-stroke-color": "#ffffff", "circle-stroke-width": 2 } });
  map.addLayer({ id: "desk-zones-name", type: "symbol", source: "desk-zones", layout: text, paint: { ...halo, "text-color": "#256b4d" } });
  addBelow(map);
  map.addLayer({ id: "desk-accuracy", type: "line", source: "desk-accuracy", paint: { "line-color": "#52636e", "line-width": 2, "line-dasharray": [2, 2] } });
  map.addLayer({ id: "desk-snap-line", type: "line", source: "desk-snap", paint: { "line-color": "#a51c26", "line-width": 2, "line-dasharray": [1, 1.5] } });
  map.addLayer({
    id: "desk-snap-end",
    type: "circle",
    source: "desk-snap",
    filter: ["==", ["geometry-type"], "Point"],
    paint: { "circle-radius": 6, "circle-color": "#ffffff", "circle-stroke-color": "#a51c26", "circle-stroke-width": 3 },
  });
  map.addLayer({
    id: "desk-reports",
    type: "circle",
    source: "desk-reports",
    paint: { "circle-radius": 5, "circle-color": "#52636e", "circle-stroke-color": "#ffffff", "circle-stroke-width": 1.5 },
  });
  map.addLayer({
    id: "desk-incidents",
    type: "symbol",
    source: "desk-incidents",
    layout: { ...text, "icon-image": ["concat", "level-", ["get", "severity"]], "icon-allow-overlap": true, "text-anchor": "top", "text-offset": [0, 0.8] },
    paint: halo,
  });
}

/** Hatched as on the public map: lakes with its pattern, rivers as a dashed line on a pale one. */
function addBelow(map: Canvas): void {
  const colour: ExpressionSpecification = ["match", ["get", "level"], 3, LEVEL_COLOURS[3], 2, LEVEL_COLOURS[2], LEVEL_COLOURS[1]];
  map.addLayer({ id: "desk-below-lakes", type: "fill", source: "desk-below", filter: ["==", ["geometry-type"], "Polygon"], paint: { "fill-pattern": ["concat", "hatch-", ["get", "level"]] } });
  map.addLayer({ id: "desk-below-pale", type: "line", source: "desk-below", layout: { "line-cap": "round" }, paint: { "line-color": "#ffffff", "line-width": 8, "line-opacity": 0.85 } });
  map.addLayer({ id: "desk-below-lines", type: "line", source: "desk-below", paint: { "line-color": colour, "line-width": 6, "line-dasharray": [0.7, 0.5] } });
}

function draw(map: Canvas, frame: HTMLElement, pin: Pair): void {
  const text = frame.querySelector("script[data-around]")?.textContent;
  const around = text ? (JSON.parse(text) as Around) : NOTHING;
  const snapped = pairOf(frame.dataset.snappedLon, frame.dataset.snappedLat);
  const accuracyM = Number(frame.dataset.accuracyM ?? 0);
  const put = (id: string, features: GeoJSON.Feature[]): void => {
    map.getSource<GeoJSONSource>(id)?.setData({ type: "FeatureCollection", features });
  };
  put("desk-zones", around.zones.map(({ shape, name }) => ({ type: "Feature", properties: { name }, geometry: shape })));
  put("desk-incidents", around.incidents.map(({ at, severity, name }) => point(at, { severity, name })));
  put("desk-reports", around.reports.map(({ at, name }) => point(at, { name })));
  put("desk-accuracy", accuracyM > 0 ? [{ type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: ringAround(pin[0], pin[1], accuracyM) } }] : []);
  map.getSource<GeoJSONSource>("desk-snap")?.setData(lineTo(pin, snapped));
  map.getSource<GeoJSONSource>("desk-below")?.setData(below);
  look(map, snapped ? [pin, snapped] : [pin]);
}

function boxOf(drawn: GeoJSON.FeatureCollection, from: Pair): [[number, number], [number, number]] {
  const box: [[number, number], [number, number]] = [[...from], [...from]];
  const take = (part: unknown): void => {
    if (!Array.isArray(part)) return;
    const [x, y] = part as unknown[];
    if (typeof x === "number" && typeof y === "number") {
      box[0] = [Math.min(box[0][0], x), Math.min(box[0][1], y)];
      box[1] = [Math.max(box[1][0], x), Math.max(box[1][1], y)];
    } else part.forEach(take);
  };
  for (const { geometry } of drawn.features) if ("coordinates" in geometry) take(geometry.coordinates);
  return box;
}

/** At least so much around the pin is seen that one knows where one is. */
function look(map: Canvas, places: readonly Pair[]): void {
  const [lon, lat] = places[0] as Pair;
  const high = LOOK_KM / 111;
  const wide = high / Math.max(0.05, Math.cos((lat * Math.PI) / 180));
  const lons = [lon - wide, lon + wide, ...places.map(([x]) => x)];
  const lats = [lat - high, lat + high, ...places.map(([, y]) => y)];
  map.fitBounds([[Math.min(...lons), Math.min(...lats)], [Math.max(...lons), Math.max(...lats)]], { padding: EDGE_PX, maxZoom: CLOSE_ZOOM, duration: 0 });
}

function point(at: Pair, properties: Record<string, string | number>): GeoJSON.Feature {
  return { type: "Feature", properties, geometry: { type: "Point", coordinates: [...at] } };
}

function lineTo(from: Pair, to: Pair | null): GeoJSON.FeatureCollection {
  if (!to) return EMPTY;
  return {
    type: "FeatureCollection",
    features: [
      { type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: [[...from], [...to]] } },
      point(to, {}),
    ],
  };
}

export function pairOf(lon: string | undefined, lat: string | undefined): Pair | null {
  return lon && lat ? [Number(lon), Number(lat)] : null;
}
