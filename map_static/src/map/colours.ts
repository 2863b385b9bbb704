/** Puts the levels on the waters of a map: colours by feature state, at once; patterns and marks by id, when it comes to rest. */

import type { ExpressionSpecification, Map as Canvas } from "maplibre-gl";

import type { Rank } from "../levels";
import { NO_LEVELS, type Levels } from "../published";
import { MARK_LAYERS, markOpacity, markSize, partsByLevel, patternOpacity, STRONG_LAYERS, WATERS, WATER_LAYERS } from "./style";

/** Of our own making; checking 20,000 ids takes longer than drawing them. */
const UNCHECKED = { validate: false };

export class Colours {
  private shown = NO_LEVELS;
  private styled: Levels;
  private admitted: ReadonlySet<number> = new Set();
  private isMoving = false;
  private isStrong = false;

  /** `styled`: the levels the map's style was built with. */
  constructor(
    private readonly map: Canvas,
    styled: Levels,
  ) {
    this.styled = styled;
  }

  get levels(): Levels {
    return this.shown;
  }

  /** Show these levels. While they change fast, `isMoving` leaves patterns and marks for the next call without it. */
  show(levels: Levels, isMoving = false): void {
    this.change("level", this.shown.confirmed, levels.confirmed);
    this.change("near", this.shown.approaching, levels.approaching);
    this.shown = levels;
    if (isMoving !== this.isMoving) {
      this.isMoving = isMoving;
      this.decorate();
    }
    if (!isMoving && this.styled !== levels) this.restyle();
  }

  /** Let these features be coloured later without a new drawing of every tile: what days of the past will colour. */
  admit(ids: ReadonlySet<number>): void {
    this.admitted = ids;
    this.restyle();
  }

  /** Patterns and dashes that tell the levels apart without any colour. */
  strengthen(isStrong: boolean): void {
    this.isStrong = isStrong;
    for (const id of STRONG_LAYERS) this.map.setLayoutProperty(id, "visibility", isStrong ? "visible" : "none", UNCHECKED);
    for (const id of MARK_LAYERS) this.map.setLayoutProperty(id, "icon-size", markSize(isStrong), UNCHECKED);
    this.decorate();
  }

  private decorate(): void {
    this.map.setPaintProperty("lakes-pattern", "fill-opacity", patternOpacity(this.isMoving ? 0 : this.isStrong ? 0.85 : 0.3), UNCHECKED);
    for (const id of MARK_LAYERS) this.map.setPaintProperty(id, "icon-opacity", this.isMoving ? 0 : markOpacity(), UNCHECKED);
  }

  private change(key: "level" | "near", before: ReadonlyMap<number, Rank>, after: ReadonlyMap<number, Rank>): void {
    for (const [id, rank] of after) if (before.get(id) !== rank) this.set(id, key, rank);
    for (const id of before.keys()) if (!after.has(id)) this.set(id, key, 0);
  }

  /** An id says not whether it is a river's or a lake's. */
  private set(id: number, key: string, value: unknown): void {
    for (const sourceLayer of WATER_LAYERS) this.map.setFeatureState({ source: WATERS, sourceLayer, id }, { [key]: value });
  }

  private restyle(): void {
    this.styled = this.shown;
    const confirmed = new Map(this.shown.confirmed);
    for (const id of this.admitted) if (!confirmed.has(id)) confirmed.set(id, 0);
    for (const [id, part] of Object.entries(partsByLevel({ confirmed, approaching: this.shown.approaching }))) {
      this.map.setFilter(id, part.filter, UNCHECKED);
      if (part.pattern) this.map.setPaintProperty(id, "fill-pattern", part.pattern as ExpressionSpecification, UNCHECKED);
      if (part.icon) this.map.setLayoutProperty(id, "icon-image", part.icon, UNCHECKED);
    }
  }
}
