/** The live map: puts its parts together and keeps them in step with what is published. */

import type { GeoJSONSource, Map as Canvas, MapGeoJSONFeature } from "maplibre-gl";

import { merged, NOTHING_EXPECTED, readExpected, type ExpectedByFeature } from "../expected";
import { RANKS, toRank, type Rank } from "../levels";
import {
  MANIFEST, Missing, nameIn, NO_INCIDENTS, NO_LEVELS, readIndex, readLevels, readManifest, readRanges,
  type IncidentIndex, type IncidentProperties, type Levels, type Manifest, type Published, type WaterProperties,
} from "../published";
import { group, say, type Words } from "../words";
import { ageIn } from "./age";
import { TILE_FAILED } from "./archive";
import { EVERYTHING, existing, type Choice } from "./choice";
import type { Colours } from "./colours";
import { clearFrame } from "./frame";
import { readHash, writeHash, type Shared } from "./hash";
import { IncidentMarks } from "./incidents";
import { ViewList } from "./list";
import { addControls, GeolocateControl, openMap, Popup } from "./open";
import { incidentPopup, overhang, waterPopup } from "./popups";
import { INCIDENTS, SUMS } from "./style";
import { connectTools } from "./tools";
import { namesOf } from "./waters";

/** A finger needs more than the width of a line. */
const POINTING_PX = 8;
const REFRESH_MS = 60_000;
/** A graphics driver that comes back does so within moments. */
const LOST_MS = 4000;
/** The question in the address that states one visit's language. */
const LANGUAGE = "lang";
const renewing = new WeakMap<Live, Promise<void>>();

export interface Live {
  readonly map: Canvas;
  readonly frame: HTMLElement;
  readonly words: Words;
  readonly language: string;
  readonly colours: Colours;
  readonly marks: IncidentMarks;
  readonly list: ViewList;
  published: Published;
  /** When what comes down the rivers is expected where; nothing until it was read. */
  expected: ExpectedByFeature;
  choice: Choice;
  day: string | null;
  /** What holds on the day that is shown, whatever is chosen. */
  levels: Levels;
  isStrong: boolean;
  /** What is only expected is not drawn. */
  hidesNear: boolean;
  /** Show a day of the past, or with null what is published now. */
  showDay(day: string | null, levels: Levels | null, isMoving?: boolean): void;
  choose(choice: Choice): void;
  strengthen(isStrong: boolean): void;
  hideNear(hidesNear: boolean): void;
  /** Read the pointer again, and what it names anew. */
  renew(): Promise<void>;
  /** The address that restores all of this. */
  link(language: string | null): string;
}

type FallBack = (latest: Published) => void;

/** Draw the map in its frame; where that fails nothing is left of it. `fallBack` is called when the device loses the ability to draw. */
export async function goLive(frame: HTMLElement, published: Published, words: Words, fallBack: FallBack): Promise<void> {
  const language = frame.dataset.language ?? "zh-Hans";
  const shared = readHash(location.hash);
  if (shared.language && shared.language !== language && changeLanguage(shared)) return;
  const view = shared.view && { center: [shared.view.lon, shared.view.lat] as [number, number], zoom: shared.view.zoom };
  const reading = readIndex(published.manifest, published.base, frame.dataset.manifest ?? MANIFEST);
  const { map, colours } = await openMap(frame, { published, levels: published.levels, language, hasIncidents: true }, words, { ...view });
  performance.mark("map-coloured"); // what the bench measures
  clearFrame(frame);
  try {
    const index = await reading;
    await furnish(join(frame, withIndex(published, index), words, language, map, colours, index ?? NO_INCIDENTS), shared, fallBack);
  } catch (error) {
    map.remove();
    throw error;
  }
}

/** Everything around the drawn map. */
async function furnish(live: Live, shared: Shared, fallBack: FallBack): Promise<void> {
  const { map, frame, words, marks } = live;
  addControls(map);
  map.addControl(new GeolocateControl({ positionOptions: { enableHighAccuracy: true }, fitBoundsOptions: { maxZoom: 11 } }), "top-right");
  answerPointing(live);
  const known = (facet: "kinds" | "answers"): string[] => [...Object.keys(group(words, facet)), ...marks.index[facet]];
  live.choose(existing(shared.choice, { kind: known("kinds"), severity: RANKS.map(String), answer: known("answers") }));
  live.strengthen(shared.isStrong);
  live.hideNear(shared.hidesNear);
  void expect(live, live.published.manifest);
  await connectTools(live, shared);
  map.on("moveend", (event) => "originalEvent" in event && event.originalEvent && remember(live));
  watchContext(live, followPublications(live), fallBack);
  showAge(live);
  miss(live, "incidents", live.published.manifest.incidents === "");
  addEventListener(TILE_FAILED, () => navigator.onLine && miss(live, "tiles", true));
  for (const element of document.querySelectorAll<HTMLElement>("[data-live]")) element.hidden = false;
  map.once("idle", () => {
    frame.dataset.ready = "yes"; // what tests and screenshots wait for
    frame.dispatchEvent(new CustomEvent("map-drawn", { bubbles: true, detail: map })); // and what asks the map itself what it draws
  });
  map.triggerRepaint();
  map.once("idle", keepOffline);
}

function join(frame: HTMLElement, published: Published, words: Words, language: string, map: Canvas, colours: Colours, index: IncidentIndex): Live {
  let list: ViewList | null = null;
  const missed = (): void => void live.renew().catch(() => undefined); // the next minute asks again
  const marks = new IncidentMarks(map, index, published.base, () => list?.renew(), missed);
  const room = { list: element("map-in-view"), status: element("map-in-view-count"), waterUrl: frame.dataset.waterUrl ?? "/w/" };
  list = new ViewList(map, marks, room, language, words);
  const live: Live = {
    map, frame, words, language, colours, marks, list, published,
    expected: NOTHING_EXPECTED,
    choice: EVERYTHING,
    day: null,
    levels: published.levels,
    isStrong: false,
    hidesNear: false,
    showDay(day, levels, isMoving = false) {
      live.day = day;
      marks.hide(day !== null);
      live.levels = levels ?? live.published.levels;
      showLevels(live, isMoving);
      frame.classList.toggle("map-frame-past", day !== null);
      showAge(live);
    },
    choose(choice) {
      live.choice = choice;
      marks.choose(choice);
      showLevels(live);
    },
    strengthen(isStrong) {
      live.isStrong = isStrong;
      colours.strengthen(isStrong);
    },
    hideNear(hidesNear) {
      live.hidesNear = hidesNear;
      showLevels(live);
    },
    renew: () => renew(live),
    link(shownIn) {
      const address = new URL(location.href);
      address.searchParams.delete(LANGUAGE); // it was one visit's
      address.hash = "";
      return `${address.href.replace(/#$/, "")}#${writeHash(stateOf(live, shownIn))}`;
    },
  };
  return live;
}

/** Levels that were not chosen leave the waters, too: what is looked for stands out. */
function showLevels(live: Live, isMoving = false): void {
  const { levels, hidesNear } = live;
  const { severity, kind } = live.choice;
  if (severity.size === 0 && kind.size === 0 && !hidesNear) {
    live.colours.show(levels, isMoving);
    return;
  }
  const chosen = (of: Levels["confirmed"]): Levels["confirmed"] => (severity.size === 0 ? of : new Map([...of].filter(([, rank]) => severity.has(String(rank)))));
  // Whatever is known to be of another kind only; a level alone says not what comes.
  const isOfKind = (id: number): boolean => kind.size === 0 || (live.expected.get(id)?.some((one) => kind.has(one.kind)) ?? true);
  const approaching = hidesNear ? NO_LEVELS.approaching : new Map([...chosen(levels.approaching)].filter(([id]) => isOfKind(id)));
  live.colours.show({ confirmed: chosen(levels.confirmed), approaching }, isMoving);
}

/** Read when something is expected where. Where it cannot be read the hatching stands alone, and the next minute asks again. */
async function expect(live: Live, manifest: Manifest): Promise<void> {
  const read = await readExpected(manifest, live.published.base).catch(() => null);
  const { published } = live;
  if (published.manifest.expected !== manifest.expected) return; // a newer one is on its way
  if (read === null) live.published = { ...published, manifest: { ...published.manifest, expected: "" } };
  live.expected = live.list.expected = read ?? NOTHING_EXPECTED;
  if (live.choice.kind.size > 0) showLevels(live);
  live.list.renew();
}

function stateOf(live: Live, language: string | null): Shared {
  const { lng, lat } = live.map.getCenter();
  const { day, choice, isStrong, hidesNear } = live;
  return { view: { zoom: live.map.getZoom(), lon: lng, lat }, day, choice, isStrong, hidesNear, language };
}

/** The address follows, so that reloading and going back show the same; no entry of the history is made. */
export function remember(live: Live): void {
  history.replaceState(history.state, "", `#${writeHash(stateOf(live, null))}`);
}

/** A link from somebody who reads another language: this visit is shown in that one, and nothing is kept of it. */
function changeLanguage(shared: Shared): boolean {
  const hash = `#${writeHash({ ...shared, language: null })}`; // whoever changes it back is not asked again
  const other = document.querySelector<HTMLAnchorElement>(`a[hreflang="${shared.language}"]`); // a page that needs no application
  if (other) {
    location.replace(other.href + hash);
    return true;
  }
  if (!document.querySelector(`button[name=language][value="${shared.language}"]`)) return false;
  const here = new URL(location.href);
  here.searchParams.set(LANGUAGE, shared.language ?? "");
  here.hash = hash;
  location.replace(here);
  return true;
}

function answerPointing(live: Live): void {
  const { map, frame, language, words } = live;
  const popup = new Popup({ maxWidth: "18rem", focusAfterOpen: false });
  map.on("mousemove", (event) => {
    map.getCanvas().style.cursor = pointedAt(map, event.point) ? "pointer" : "";
  });
  map.on("click", (event) => {
    const found = pointedAt(map, event.point);
    if (!found) return;
    if (found.source === SUMS || found.properties.cluster_id !== undefined) {
      void openCluster(map, found);
      return;
    }
    const content =
      found.source === INCIDENTS
        ? incidentPopup(incidentOf(live, found), language, incidentHref(frame, String(found.properties.code)), words)
        : waterContent(live, found);
    popup.setLngLat(event.lngLat).setDOMContent(content).addTo(map);
    map.panBy(overhang(popup.getElement().getBoundingClientRect(), map.getContainer().getBoundingClientRect()));
  });
}

/** A drawn feature's nested properties come back as text; what was read is whole. */
function incidentOf(live: Live, found: MapGeoJSONFeature): IncidentProperties {
  const known = live.marks.shown.find((incident) => incident.properties.code === found.properties.code);
  return known?.properties ?? ({ ...found.properties, names: {} } as unknown as IncidentProperties);
}

function waterContent(live: Live, found: MapGeoJSONFeature): HTMLElement {
  const water = found.properties as WaterProperties;
  const { level, near, ids } = stateOfWater(live.map, found);
  const name = nameIn(live.language, water) || (namesOf(live.map, live.language).get(water.w) ?? "");
  const href = (live.frame.dataset.waterUrl ?? "/w/") + encodeURIComponent(water.w);
  const expected = near > 0 ? merged(ids.map((id) => live.expected.get(id) ?? [])) : [];
  return waterPopup({ name, level, near, href, expected }, live.words, live.language, (code) => incidentHref(live.frame, code));
}

function incidentHref(frame: HTMLElement, code: string): string {
  return (frame.dataset.incidentUrl ?? "/i/") + encodeURIComponent(code);
}

/** Of a name, all parts of its water in view are meant. */
function stateOfWater(map: Canvas, found: MapGeoJSONFeature): { readonly level: Rank; readonly near: Rank; readonly ids: readonly number[] } {
  const isName = found.sourceLayer === "labels";
  const parts = isName ? map.queryRenderedFeatures({ layers: ["rivers", "lakes"], filter: ["==", ["get", "w"], found.properties.w] }) : [found];
  const worst = (key: string): Rank => Math.max(0, ...parts.map((part) => toRank(part.state[key]))) as Rank;
  return { level: worst("level"), near: worst("near"), ids: [...new Set(parts.map((part) => Number(part.id)))] };
}

function pointedAt(map: Canvas, point: { x: number; y: number }): MapGeoJSONFeature | undefined {
  const box: [[number, number], [number, number]] = [
    [point.x - POINTING_PX, point.y - POINTING_PX],
    [point.x + POINTING_PX, point.y + POINTING_PX],
  ];
  const first = map.queryRenderedFeatures(box, { layers: ["incidents", "incident-sums", "names"] })[0];
  if (first) return first;
  const waters = map.queryRenderedFeatures(box, { layers: ["rivers", "lakes"] });
  const weight = (one: MapGeoJSONFeature | undefined): number => 10 * toRank(one?.state.level) + toRank(one?.state.near);
  return waters.reduce<MapGeoJSONFeature | undefined>((best, one) => (weight(one) > weight(best) ? one : best), waters[0]);
}

async function openCluster(map: Canvas, cluster: MapGeoJSONFeature): Promise<void> {
  const source = map.getSource<GeoJSONSource>(cluster.source);
  if (!source || cluster.geometry.type !== "Point") return;
  const id: unknown = cluster.properties.cluster_id;
  const zoom = id === undefined ? map.getZoom() + 2 : await source.getClusterExpansionZoom(Number(id));
  map.easeTo({ center: cluster.geometry.coordinates as [number, number], zoom: Math.max(zoom, map.getZoom() + 1) });
}

function watchContext(live: Live, stop: () => void, fallBack: FallBack): void {
  const { map } = live;
  let timer: ReturnType<typeof setTimeout> | undefined;
  map.on("webglcontextlost", () => {
    live.list.stop(); // a map without a context has no style to ask
    timer = setTimeout(() => {
      stop();
      live.marks.stop();
      for (const part of document.querySelectorAll<HTMLElement>("[data-live], .map-panel, .map-time")) part.hidden = true;
      map.remove();
      fallBack(live.published);
    }, LOST_MS);
  });
  map.on("webglcontextrestored", () => {
    clearTimeout(timer);
    live.list.resume();
  });
}

/** While somebody looks, the map follows what is published; geometry that has changed waits for the next visit. */
function followPublications(live: Live): () => void {
  const over = new AbortController();
  const look = async (): Promise<void> => {
    if (document.visibilityState !== "visible") return;
    try {
      await live.renew();
    } catch {
      // The line about its age says how old it is.
    }
    if (!over.signal.aborted) showAge(live);
  };
  const timer = setInterval(() => void look(), REFRESH_MS);
  const { signal } = over;
  document.addEventListener("visibilitychange", () => void look(), { signal });
  for (const change of ["online", "offline"]) addEventListener(change, () => (change === "online" ? void look() : showAge(live)), { signal });
  return () => {
    clearInterval(timer);
    over.abort();
  };
}

/** One reading at a time; what is missing was superseded meanwhile, and is asked for once more. */
function renew(live: Live): Promise<void> {
  const again = async (): Promise<void> => take(live, await readManifest(addressOf(live)));
  const asked =
    renewing.get(live) ??
    again()
      .catch((error: unknown) => {
        if (error instanceof Missing) return again();
        throw error;
      })
      .finally(() => renewing.delete(live));
  renewing.set(live, asked);
  return asked;
}

function addressOf(live: Live): string {
  return live.frame.dataset.manifest ?? MANIFEST;
}

/** Where there is no index, the next reading of the pointer asks for it again. */
function withIndex(published: Published, index: IncidentIndex | null): Published {
  return index ? published : { ...published, manifest: { ...published.manifest, incidents: "" } };
}

async function take(live: Live, manifest: Manifest): Promise<void> {
  const { manifest: before, base } = live.published;
  const levels = manifest.levels === before.levels ? live.published.levels : await readLevels(manifest, base);
  const isSame = manifest.incidents === before.incidents;
  const index = isSame ? live.marks.index : await readIndex(manifest, base, addressOf(live));
  live.published = withIndex({ ...live.published, manifest, levels }, index);
  if (!isSame) live.marks.renew(index ?? NO_INCIDENTS);
  miss(live, "incidents", index === null);
  if (manifest.expected !== before.expected) await expect(live, manifest);
  if (live.day !== null || levels === live.levels) return;
  live.levels = levels;
  showLevels(live);
}

/** What could not be read is said until it was: a map without it looks like one without warnings. */
function miss(live: Live, what: "incidents" | "tiles", isMissing: boolean): void {
  const said = element(`map-missed-${what}`);
  if (said.hidden === !isMissing) return;
  said.hidden = !isMissing;
  said.textContent = isMissing ? say(live.words, `${what}_failed`) : "";
  if (isMissing && what === "tiles") {
    const href = `${live.frame.dataset.snapshot ?? ""}?lang=${live.language}`;
    said.append(" ", Object.assign(document.createElement("a"), { href, textContent: say(live.words, "open_snapshot") }));
  }
}

/** How old what is shown is; always on the map, and said when it is too old or there is no network. */
export function showAge(live: Live): void {
  const { frame, words, published, day } = live;
  const age = frame.querySelector<HTMLElement>(".map-age") ?? frame.appendChild(Object.assign(document.createElement("p"), { className: "map-age" }));
  const { text, isNoteworthy } = ageIn(words, published.manifest, day);
  age.className = isNoteworthy ? "map-age map-age-stale" : "map-age";
  if (isNoteworthy && day === null) age.setAttribute("role", "status");
  if (age.textContent !== text) age.textContent = text;
}

/** The worker keeps what this view needs, so that it opens here without a network, too. */
function keepOffline(): void {
  if (!("serviceWorker" in navigator)) return;
  void navigator.serviceWorker.ready.then(({ active }) => active?.postMessage({ keep: "map", ranges: [...readRanges] }));
}

function element(id: string): HTMLElement {
  return document.getElementById(id) ?? document.createElement("div");
}
