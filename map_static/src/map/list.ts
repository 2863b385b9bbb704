/** The coloured waters in view as a list: what the map shows, for keyboards, readers and whoever likes lists better. */

import type { Map as Canvas } from "maplibre-gl";

import { merged, NOTHING_EXPECTED, type ExpectedByFeature } from "../expected";
import { toRank, type Rank } from "../levels";
import { nameIn, nameOf, type WaterProperties } from "../published";
import { say, type Words } from "../words";
import type { IncidentMarks } from "./incidents";
import { badge, nearBadge } from "./popups";
import { WATERS } from "./style";
import { namesOf } from "./waters";
import { arrivalWords } from "./windows";

export interface ListedWater {
  readonly water: string;
  readonly name: string;
  readonly rank: Rank;
  /** The level that comes down to it. */
  readonly near: Rank;
  /** Its parts in view to which something comes. */
  readonly ids: ReadonlySet<number>;
}

interface Seen {
  readonly id?: number;
  readonly properties: WaterProperties;
  readonly level: unknown;
  readonly near?: unknown;
}

/** More than that nobody reads; the count says how many there are. */
const SHOWN = 40;

/** Waters that carry a level or expect one: the most serious first, what is before what comes, then by name in the viewer's language, those without a name last. */
export function listWaters(seen: readonly Seen[], names: ReadonlyMap<string, string>, language: string): ListedWater[] {
  const found = new Map<string, { water: string; name: string; rank: Rank; near: Rank; ids: Set<number> }>();
  for (const { id, properties, level, near } of seen) {
    const [rank, nearRank] = [toRank(level), toRank(near)];
    if (rank === 0 && nearRank === 0) continue;
    const known = found.get(properties.w) ?? { water: properties.w, name: names.get(properties.w) ?? nameIn(language, properties), rank: 0, near: 0, ids: new Set() };
    known.rank = Math.max(known.rank, rank) as Rank;
    known.near = Math.max(known.near, nearRank) as Rank;
    if (nearRank > 0 && id !== undefined) known.ids.add(id);
    found.set(properties.w, known);
  }
  const order = new Intl.Collator(language);
  return [...found.values()].sort((a, b) => b.rank - a.rank || b.near - a.near || Number(!a.name) - Number(!b.name) || order.compare(a.name, b.name));
}

/** Keeps the list in step with the view, and marks on the map the water whose entry is pointed at. */
export class ViewList {
  /** Names that the page itself knows: a wide view's tiles carry none. */
  private readonly names: Map<string, string>;
  /** What is said of the waters to which something comes; the page's owner keeps it new. */
  expected: ExpectedByFeature = NOTHING_EXPECTED;
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
    const layers = ["rivers-coloured", "rivers-approaching", "lakes"].filter((id) => this.map.getLayer(id));
    const seen = this.map.queryRenderedFeatures({ layers }).map((feature) => {
      const id = Number(feature.id);
      const state = this.map.getFeatureState({ source: WATERS, sourceLayer: feature.sourceLayer ?? "", id }) as { level?: unknown; near?: unknown } | undefined;
      return { id, properties: feature.properties as WaterProperties, level: state?.level, near: state?.near };
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
    const said = this.count(waters);
    if (this.room.status.textContent !== said) this.room.status.textContent = said;
  }

  private count(waters: readonly ListedWater[]): string {
    if (waters.length === 0) return say(this.words, "view_empty");
    const coloured = waters.filter(({ rank }) => rank > 0).length;
    const count = coloured === 0 ? "" : say(this.words, waters.length > SHOWN ? "view_more" : "view_count", { count: coloured, shown: Math.min(SHOWN, coloured) });
    const near = waters.length - coloured;
    return count + (near > 0 ? say(this.words, coloured > 0 ? "view_near_too" : "view_near", { count: near }) : "");
  }

  private row({ water, name, rank, near, ids }: ListedWater): HTMLElement {
    const link = Object.assign(document.createElement("a"), { className: "list-row", href: this.room.waterUrl + encodeURIComponent(water) });
    link.dataset.water = water;
    const named = Object.assign(document.createElement("span"), { className: "list-name", textContent: name || say(this.words, "unnamed") });
    const [soonest] = near > 0 ? merged([...ids].map((id) => this.expected.get(id) ?? [])) : [];
    if (soonest) named.append(" ", Object.assign(document.createElement("span"), { className: "small muted", textContent: arrivalWords(soonest, this.words, this.language, Date.now()) }));
    link.append(named, ...(rank > 0 ? [badge(rank, this.words)] : []), ...(near > 0 ? [nearBadge(near, this.words)] : []));
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
