/** The coloured waters in view as a list: what the map shows, for keyboards, readers and whoever likes lists better. */

import type { Map as Canvas } from "maplibre-gl";

import { toRank, type Rank } from "../levels";
import { nameIn, nameOf, type WaterProperties } from "../published";
import { say, type Words } from "../words";
import type { IncidentMarks } from "./incidents";
import { badge } from "./popups";
import { WATERS } from "./style";
import { namesOf } from "./waters";

export interface ListedWater {
  readonly water: string;
  readonly name: string;
  readonly rank: Rank;
}

interface Seen {
  readonly properties: WaterProperties;
  readonly level: unknown;
}

/** More than that nobody reads; the count says how many there are. */
const SHOWN = 40;

/** Waters that carry a level, the most serious first, then by name in the viewer's language, those without a name last. */
export function listWaters(seen: readonly Seen[], names: ReadonlyMap<string, string>, language: string): ListedWater[] {
  const found = new Map<string, ListedWater>();
  for (const { properties, level } of seen) {
    const rank = toRank(level);
    const known = found.get(properties.w);
    if (rank === 0 || (known && known.rank >= rank)) continue;
    found.set(properties.w, { water: properties.w, rank, name: names.get(properties.w) ?? nameIn(language, properties) });
  }
  const order = new Intl.Collator(language);
  return [...found.values()].sort((a, b) => b.rank - a.rank || Number(!a.name) - Number(!b.name) || order.compare(a.name, b.name));
}

/** Keeps the list in step with the view, and marks on the map the water whose entry is pointed at. */
export class ViewList {
  /** Names that the page itself knows: a wide view's tiles carry none. */
  private readonly names: Map<string, string>;
  private isOver = false;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly map: Canvas,
    private readonly marks: IncidentMarks,
    private readonly room: { readonly list: HTMLElement; readonly status: HTMLElement; readonly waterUrl: string },
    private readonly language: string,
    private readonly words: Words,
  ) {
    this.names = namesOnPage(room.waterUrl);
    map.on("idle", () => this.renew());
    for (const [on, off] of [["pointerover", "pointerout"], ["focusin", "focusout"]] as const) {
      room.list.addEventListener(on, (event) => this.mark(event, true));
      room.list.addEventListener(off, (event) => this.mark(event, false));
    }
  }

  /** Once nothing has moved for a moment. */
  renew(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fill(), 250);
  }

  /** While the map is gone, for good or until the device can draw again: what is listed stays. */
  stop(): void {
    this.isOver = true;
  }

  /** The map is back. */
  resume(): void {
    this.isOver = false;
  }

  private fill(): void {
    if (this.isOver) return;
    const layers = ["rivers-coloured", "lakes"].filter((id) => this.map.getLayer(id));
    const seen = this.map.queryRenderedFeatures({ layers }).flatMap((feature) => {
      const level = this.map.getFeatureState({ source: WATERS, sourceLayer: feature.sourceLayer ?? "", id: Number(feature.id) })?.level as unknown;
      return toRank(level) > 0 ? [{ properties: feature.properties as WaterProperties, level }] : [];
    });
    for (const { properties } of this.marks.shown) {
      const name = nameOf(this.language, properties.names);
      if (name) this.names.set(properties.water, name);
    }
    for (const [water, name] of namesOf(this.map, this.language)) this.names.set(water, name);
    const waters = listWaters(seen, this.names, this.language);
    const rows = waters.slice(0, SHOWN).map((water) => this.row(water));
    // Who stands in the list with the keyboard keeps the place.
    const focused = (document.activeElement as HTMLElement | null)?.closest<HTMLElement>("[data-water]")?.dataset.water;
    this.room.list.replaceChildren(...rows);
    if (focused) this.room.list.querySelector<HTMLElement>(`[data-water="${CSS.escape(focused)}"]`)?.focus();
    const said = waters.length === 0 ? say(this.words, "view_empty") : say(this.words, waters.length > SHOWN ? "view_more" : "view_count", { count: waters.length, shown: SHOWN });
    if (this.room.status.textContent !== said) this.room.status.textContent = said;
  }

  private row({ water, name, rank }: ListedWater): HTMLElement {
    const link = Object.assign(document.createElement("a"), { className: "list-row", href: this.room.waterUrl + encodeURIComponent(water) });
    link.dataset.water = water;
    link.append(Object.assign(document.createElement("span"), { className: "list-name", textContent: name || say(this.words, "unnamed") }), badge(rank, this.words));
    const row = document.createElement("li");
    row.append(link);
    return row;
  }

  private mark(event: Event, isOn: boolean): void {
    if (this.isOver) return;
    const water = (event.target as Element).closest<HTMLElement>("[data-water]")?.dataset.water;
    if (water) markWater(this.map, water, isOn);
  }
}

/** Draw a water's outline in ink, or as before. */
export function markWater(map: Canvas, water: string, isOn: boolean): void {
  for (const sourceLayer of ["rivers", "lakes"]) {
    for (const { id } of map.querySourceFeatures(WATERS, { sourceLayer, filter: ["==", ["get", "w"], water], validate: false })) {
      if (id !== undefined) map.setFeatureState({ source: WATERS, sourceLayer, id }, { focus: isOn });
    }
  }
}

function namesOnPage(waterUrl: string): Map<string, string> {
  const links = document.querySelectorAll<HTMLAnchorElement>(`#map-list a[href^="${CSS.escape(waterUrl)}"]`);
  return new Map([...links].map((link) => [decodeURIComponent(link.pathname.slice(waterUrl.length)), link.querySelector(".list-name")?.textContent?.trim() ?? ""]));
}
