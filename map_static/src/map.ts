/** The public map. The list beside it says the same; the map is an addition. */

import type { GeoJSONSource, Map as Canvas, MapGeoJSONFeature } from "maplibre-gl";

import { canDrawMaps, clearFrame, localTime, showMessage, whenNear } from "./map/frame";
import { listedWaters, renderList } from "./map/list";
import { incidentPopup, waterPopup } from "./map/popups";
import { toRank } from "./levels";
import { isStale, nameIn, NotPublished, readPublished, type IncidentProperties, type Published, type WaterProperties } from "./published";
import { readWords, say, type Words } from "./words";

/** A finger needs more than the width of a line. */
const POINTING_PX = 8;

interface MarkProperties {
  readonly name: string;
  readonly level: number;
}

async function start(frame: HTMLElement): Promise<void> {
  const words = readWords(frame);
  const link = [frame.dataset.snapshot ?? "/published/national.html", say(words, "snapshot")] as const;
  const retry = [say(words, "retry"), () => void start(frame)] as const;
  let published: Published;
  try {
    published = await readPublished(frame.dataset.manifest ?? "/published/manifest.json");
  } catch (error) {
    const key = error instanceof NotPublished ? "not_published" : "load_failed";
    showMessage(frame, say(words, key), { retry });
    return;
  }
  const language = frame.dataset.language ?? "zh-Hans";
  const list = document.getElementById("map-list");
  if (list) renderList(list, listedWaters(published, language), frame.dataset.waterUrl ?? "/w/", words);
  if (!canDrawMaps()) {
    showMessage(frame, say(words, "unavailable"), { link });
    return;
  }
  try {
    await draw(frame, published, language, words);
  } catch {
    showMessage(frame, say(words, "unavailable"), { link, retry });
  }
}

async function draw(frame: HTMLElement, published: Published, language: string, words: Words): Promise<void> {
  const { addControls, GeolocateControl, openMap } = await import("./map/open");
  const map = await openMap(frame, { ...published, language }, words);
  addControls(map);
  map.addControl(new GeolocateControl({ positionOptions: { enableHighAccuracy: true }, fitBoundsOptions: { maxZoom: 11 } }), "top-right");
  await answerPointing(map, frame, language, words);
  showAge(frame, published, words);
  clearFrame(frame);
  frame.dataset.ready = "yes"; // what tests and screenshots wait for
}

async function answerPointing(map: Canvas, frame: HTMLElement, language: string, words: Words): Promise<void> {
  const { Popup } = await import("./map/open");
  const popup = new Popup({ maxWidth: "18rem", focusAfterOpen: false });
  let hovered: number | null = null;
  map.on("mousemove", (event) => {
    const found = pointedAt(map, event.point);
    map.getCanvas().style.cursor = found ? "pointer" : "";
    const id = found?.source === "waters" ? Number(found.id) : null;
    if (id === hovered) return;
    if (hovered !== null) map.setFeatureState({ source: "waters", id: hovered }, { hover: false });
    if (id !== null) map.setFeatureState({ source: "waters", id }, { hover: true });
    hovered = id;
  });
  map.on("click", (event) => {
    const found = pointedAt(map, event.point);
    if (!found) return;
    if (found.properties.cluster_id !== undefined) {
      void openCluster(map, found);
      return;
    }
    const content =
      found.source === "incidents"
        ? incidentPopup(found.properties as IncidentProperties, frame.dataset.incidentUrl + String(found.properties.code), words)
        : waterContent(found, frame, language, words);
    popup.setLngLat(event.lngLat).setDOMContent(content).addTo(map);
  });
}

function waterContent(found: MapGeoJSONFeature, frame: HTMLElement, language: string, words: Words): HTMLElement {
  const { name, water, level } = found.properties as Partial<MarkProperties> & WaterProperties;
  const href = (frame.dataset.waterUrl ?? "/w/") + encodeURIComponent(water);
  const properties = found.properties as WaterProperties;
  return waterPopup(name ?? nameIn(language, properties), toRank(level ?? found.state.level), href, words);
}

function pointedAt(map: Canvas, point: { x: number; y: number }): MapGeoJSONFeature | undefined {
  const box: [[number, number], [number, number]] = [
    [point.x - POINTING_PX, point.y - POINTING_PX],
    [point.x + POINTING_PX, point.y + POINTING_PX],
  ];
  const first = map.queryRenderedFeatures(box, { layers: ["incidents", "incident-clusters", "level-marks", "names"] })[0];
  if (first) return first;
  const waters = map.queryRenderedFeatures(box, { layers: ["rivers", "lakes"] });
  return waters.reduce<MapGeoJSONFeature | undefined>((best, one) => (toRank(one.state.level) > toRank(best?.state.level) ? one : best), waters[0]);
}

async function openCluster(map: Canvas, cluster: MapGeoJSONFeature): Promise<void> {
  const source = map.getSource<GeoJSONSource>("incidents");
  if (!source || cluster.geometry.type !== "Point") return;
  const zoom = await source.getClusterExpansionZoom(Number(cluster.properties.cluster_id));
  map.easeTo({ center: cluster.geometry.coordinates as [number, number], zoom });
}

function showAge(frame: HTMLElement, published: Published, words: Words): void {
  const stale = isStale(published.manifest, Date.now());
  const age = document.createElement("p");
  age.className = stale ? "map-age map-age-stale" : "map-age";
  age.textContent = say(words, stale ? "stale" : "updated", { time: localTime(published.manifest.generated_at) });
  frame.append(age);
}

const frame = document.getElementById("map");
if (frame) whenNear(frame, () => void start(frame));
