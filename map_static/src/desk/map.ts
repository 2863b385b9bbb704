/** Where a report is, for the moderator: the exact pin, the device's circle, and the point on the water. */

import type { GeoJSONSource, Map as Canvas } from "maplibre-gl";

import { ringAround } from "../geometry";
import { canDrawMaps, clearFrame, showMessage } from "../map/frame";
import { readPublished } from "../published";
import { say, type Words } from "../words";

type Pair = readonly [number, number];

const CLOSE_ZOOM = 13;
const EDGE_PX = 48;

export async function openDeskMap(frame: HTMLElement, words: Words): Promise<void> {
  const pin = pairOf(frame.dataset.lon, frame.dataset.lat);
  if (!pin) return;
  if (!canDrawMaps()) {
    showMessage(frame, say(words, "unavailable"));
    return;
  }
  try {
    const [published, { addControls, Marker, openMap }] = await Promise.all([
      readPublished(frame.dataset.manifest ?? "/published/manifest.json"),
      import("../map/open"),
    ]);
    const language = frame.dataset.language ?? "zh-Hans";
    const map = await openMap(frame, { ...published, incidents: null, language }, words, { center: [...pin], zoom: CLOSE_ZOOM });
    addControls(map);
    new Marker({ color: "#a51c26" }).setLngLat([...pin]).addTo(map);
    drawEvidence(map, frame, pin);
    followChoice(map, pin);
    clearFrame(frame);
    frame.dataset.ready = "yes";
  } catch {
    showMessage(frame, say(words, "unavailable"));
  }
}

function drawEvidence(map: Canvas, frame: HTMLElement, pin: Pair): void {
  const snapped = pairOf(frame.dataset.snappedLon, frame.dataset.snappedLat);
  const device = pairOf(frame.dataset.deviceLon, frame.dataset.deviceLat);
  const accuracyM = Number(frame.dataset.accuracyM);
  map.addSource("snap", { type: "geojson", data: lineTo(pin, snapped) });
  map.addSource("device", { type: "geojson", data: circle(device, accuracyM) });
  map.addLayer({ id: "device", type: "line", source: "device", paint: { "line-color": "#52636e", "line-width": 2, "line-dasharray": [2, 2] } });
  map.addLayer({ id: "snap-line", type: "line", source: "snap", paint: { "line-color": "#a51c26", "line-width": 2, "line-dasharray": [1, 1.5] } });
  map.addLayer({
    id: "snap-end",
    type: "circle",
    source: "snap",
    filter: ["==", ["geometry-type"], "Point"],
    paint: { "circle-radius": 6, "circle-color": "#ffffff", "circle-stroke-color": "#a51c26", "circle-stroke-width": 3 },
  });
  if (snapped) show(map, pin, snapped);
}

/** Another water chosen in the form moves the point on the water. */
function followChoice(map: Canvas, pin: Pair): void {
  document.addEventListener("change", (event) => {
    const input = event.target as HTMLInputElement;
    const chosen = input.name === "water_feature_id" ? pairOf(input.dataset.lon, input.dataset.lat) : null;
    if (!chosen) return;
    map.getSource<GeoJSONSource>("snap")?.setData(lineTo(pin, chosen));
    show(map, pin, chosen);
  });
}

function show(map: Canvas, a: Pair, b: Pair): void {
  map.fitBounds(
    [
      [Math.min(a[0], b[0]), Math.min(a[1], b[1])],
      [Math.max(a[0], b[0]), Math.max(a[1], b[1])],
    ],
    { padding: EDGE_PX, maxZoom: CLOSE_ZOOM, duration: 0 },
  );
}

function lineTo(from: Pair, to: Pair | null): GeoJSON.FeatureCollection {
  if (!to) return { type: "FeatureCollection", features: [] };
  return {
    type: "FeatureCollection",
    features: [
      { type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: [[...from], [...to]] } },
      { type: "Feature", properties: {}, geometry: { type: "Point", coordinates: [...to] } },
    ],
  };
}

function circle(centre: Pair | null, radiusM: number): GeoJSON.FeatureCollection {
  if (!centre || !(radiusM > 0)) return { type: "FeatureCollection", features: [] };
  const coordinates = ringAround(centre[0], centre[1], radiusM);
  return { type: "FeatureCollection", features: [{ type: "Feature", properties: {}, geometry: { type: "LineString", coordinates } }] };
}

function pairOf(lon: string | undefined, lat: string | undefined): Pair | null {
  return lon && lat ? [Number(lon), Number(lat)] : null;
}
