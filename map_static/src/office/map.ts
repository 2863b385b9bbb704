/** An agency's cases on a map: marks by level, heaps by number; a click leads to the case. */

import type { Feature, FeatureCollection, Point } from "geojson";
import type { GeoJSONSource, Map as Canvas, MapMouseEvent } from "maplibre-gl";

import { canDrawMaps, clearFrame, showMessage } from "../map/frame";
import { MANIFEST, readPublished } from "../published";
import { readWords, say, type Words } from "../words";

interface Case {
  readonly code: string;
  readonly severity: number;
  readonly water: string;
  readonly kind_words: string;
  readonly state_words: string;
  readonly agency: string;
  readonly url: string;
  readonly is_late: boolean;
}

type Cases = FeatureCollection<Point, Case>;

const FONT = ["Noto Sans CJK SC,PingFang SC,Microsoft YaHei,sans-serif"];
const SOURCE = "office-cases";
const HEAP = "office-heap";
const MARK = "office-mark";
const EDGE_PX = 56;
const CLOSEST_ZOOM = 13;

/** Draw the cases of `data-source` in the frame; what goes wrong is said in the page's words. */
export async function showOfficeMap(frame: HTMLElement): Promise<void> {
  const words = readWords(frame);
  if (!canDrawMaps()) {
    showMessage(frame, say(words, "unavailable"));
    return;
  }
  try {
    await draw(frame, words);
  } catch {
    showMessage(frame, say(words, "unavailable"));
  }
}

async function draw(frame: HTMLElement, words: Words): Promise<void> {
  const [published, { addControls, openMap, Popup }, answer] = await Promise.all([
    readPublished(frame.dataset.manifest ?? MANIFEST),
    import("../map/open"),
    fetch(frame.dataset.source ?? "", { headers: { Accept: "application/geo+json" } }),
  ]);
  if (!answer.ok) throw new Error(String(answer.status));
  const cases = placed((await answer.json()) as FeatureCollection<Point | null, Case>);
  const language = frame.dataset.language ?? "zh-Hans";
  const { map } = await openMap(frame, { published, levels: published.levels, language }, words, boundsOf(cases));
  addControls(map);
  addLayers(map, cases);
  map.on("click", HEAP, (event) => void openHeap(map, event));
  map.on("click", MARK, (event) => {
    const found = event.features?.[0] as unknown as Feature<Point, Case> | undefined;
    if (found) new Popup({ offset: 12 }).setLngLat(event.lngLat).setDOMContent(popup(found.properties, words)).addTo(map);
  });
  for (const layer of [HEAP, MARK]) {
    map.on("mouseenter", layer, () => (map.getCanvas().style.cursor = "pointer"));
    map.on("mouseleave", layer, () => (map.getCanvas().style.cursor = ""));
  }
  clearFrame(frame);
  frame.dataset.ready = "yes";
}

/** A case that was taken back has no place any more. */
export function placed(told: FeatureCollection<Point | null, Case>): Cases {
  return { ...told, features: told.features.filter((one): one is Feature<Point, Case> => one.geometry !== null) };
}

function boundsOf(cases: Cases): object {
  const at = cases.features.map((one) => one.geometry.coordinates as [number, number]);
  if (at.length === 0) return {};
  const lons = at.map(([lon]) => lon);
  const lats = at.map(([, lat]) => lat);
  const bounds = [Math.min(...lons), Math.min(...lats), Math.max(...lons), Math.max(...lats)];
  return { bounds, fitBoundsOptions: { padding: EDGE_PX, maxZoom: CLOSEST_ZOOM } };
}

function addLayers(map: Canvas, cases: Cases): void {
  map.addSource(SOURCE, {
    type: "geojson",
    data: cases,
    cluster: true,
    clusterMaxZoom: 11,
    clusterRadius: 36,
    clusterProperties: { worst: ["max", ["get", "severity"]] },
  });
  map.addLayer({
    id: HEAP,
    type: "circle",
    source: SOURCE,
    filter: ["has", "point_count"],
    paint: {
      "circle-radius": ["step", ["get", "point_count"], 15, 10, 19, 100, 24],
      "circle-color": ["match", ["get", "worst"], 4, "#d1242f", 3, "#f07800", 2, "#e8b500", "#1f6fd6"],
      "circle-stroke-color": "#ffffff",
      "circle-stroke-width": 2,
    },
  });
  map.addLayer({
    id: "office-heap-count",
    type: "symbol",
    source: SOURCE,
    filter: ["has", "point_count"],
    layout: { "text-field": ["to-string", ["get", "point_count"]], "text-font": FONT, "text-size": 14, "text-allow-overlap": true },
    paint: { "text-color": ["match", ["get", "worst"], [2, 3], "#231100", "#ffffff"] },
  });
  map.addLayer({
    id: "office-late",
    type: "circle",
    source: SOURCE,
    filter: ["all", ["!", ["has", "point_count"]], ["==", ["get", "is_late"], true]],
    paint: { "circle-radius": 16, "circle-color": "rgba(0,0,0,0)", "circle-stroke-color": "#a51c26", "circle-stroke-width": 3 },
  });
  map.addLayer({
    id: MARK,
    type: "symbol",
    source: SOURCE,
    filter: ["!", ["has", "point_count"]],
    layout: {
      "icon-image": ["concat", "level-", ["to-string", ["get", "severity"]]],
      "icon-allow-overlap": true,
      "text-field": ["get", "water"],
      "text-font": FONT,
      "text-size": 12,
      "text-optional": true,
      "text-anchor": "top",
      "text-offset": [0, 1],
    },
    paint: { "text-color": "#1b2931", "text-halo-color": "#ffffff", "text-halo-width": 1.6 },
  });
}

async function openHeap(map: Canvas, event: MapMouseEvent & { features?: unknown[] }): Promise<void> {
  const heap = event.features?.[0] as Feature<Point, { cluster_id: number }> | undefined;
  if (!heap) return;
  const zoom = await map.getSource<GeoJSONSource>(SOURCE)?.getClusterExpansionZoom(heap.properties.cluster_id);
  map.easeTo({ center: heap.geometry.coordinates as [number, number], zoom: zoom ?? map.getZoom() + 2 });
}

/** Built as nodes: no text from outside ever becomes markup. */
function popup(one: Case, words: Words): HTMLElement {
  const content = element("div", "map-popup");
  content.append(
    element("div", "map-popup-name", `${one.kind_words} · ${one.code}`),
    element("div", "", one.water),
    element("div", "muted small", [one.state_words, one.is_late ? say(words, "late") : "", one.agency].filter(Boolean).join(" · ")),
    Object.assign(document.createElement("a"), { className: "map-popup-link", href: one.url, textContent: say(words, "open_case") }),
  );
  return content;
}

function element(name: string, className: string, textContent = ""): HTMLElement {
  return Object.assign(document.createElement(name), { className, textContent });
}
