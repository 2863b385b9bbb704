/** Incidents on the map: their sums while the view is wide, one by one when it is close, each tile's read when it is looked at. */

import type { Feature, Point } from "geojson";
import type { GeoJSONSource, Map as Canvas } from "maplibre-gl";

import { tilesOver, type Bounds } from "../geometry";
import { Missing, readFile, type IncidentIndex, type IncidentProperties, type Incidents } from "../published";
import { EVERYTHING, facetsOf, isChosen, type Choice } from "./choice";
import { DETAIL_ZOOM, INCIDENTS, SUMS } from "./style";

/** A view of zoom 5.5 on a wide screen touches about thirty tiles of zoom 6. */
const TILES_AT_ONCE = 48;

export class IncidentMarks {
  private choice: Choice = EVERYTHING;
  private isHidden = false;
  private isOver = false;
  private readonly read = new Map<string, Promise<readonly Feature<Point, IncidentProperties>[]>>();
  private here: readonly Feature<Point, IncidentProperties>[] = [];

  constructor(
    private readonly map: Canvas,
    public index: IncidentIndex,
    private readonly base: URL,
    private readonly changed: () => void,
    /** A file that the index names is gone: there must be a newer one. */
    private readonly missed: () => void,
  ) {
    this.draw();
    map.on("moveend", () => void this.follow());
    void this.follow();
  }

  /** A newer publication: tiles whose file is the same are not read again. */
  renew(index: IncidentIndex): void {
    this.index = index;
    this.draw();
    void this.follow();
  }

  choose(choice: Choice): void {
    this.choice = choice;
    this.draw();
  }

  /** What is open today does not belong on a map of the past. */
  hide(isHidden: boolean): void {
    this.isHidden = isHidden;
    this.draw();
  }

  /** The chosen incidents in the tiles under the view; none while only sums are shown. */
  get shown(): readonly Feature<Point, IncidentProperties>[] {
    return this.isHidden ? [] : this.here.filter((incident) => isChosen(this.choice, facetsOf(incident.properties)));
  }

  private async follow(): Promise<void> {
    if (this.map.getZoom() < DETAIL_ZOOM) return;
    const view = this.map.getBounds().toArray().flat() as unknown as Bounds;
    const names = tilesOver(this.index.zoom, view)
      .slice(0, TILES_AT_ONCE)
      .flatMap(([x, y]) => this.index.tiles[`${x}/${y}`] ?? []);
    const found = await Promise.all(names.map((name) => this.tile(name)));
    this.here = found.flat();
    this.draw();
  }

  private tile(name: string): Promise<readonly Feature<Point, IncidentProperties>[]> {
    const known = this.read.get(name);
    if (known) return known;
    const asked = readFile<Incidents>(new URL(name, this.base)).then(
      (file) => file.features,
      (error: unknown) => {
        this.read.delete(name); // the next move asks again
        if (error instanceof Missing) this.missed();
        return [];
      },
    );
    this.read.set(name, asked);
    return asked;
  }

  /** For good: the map is gone. */
  stop(): void {
    this.isOver = true;
  }

  private draw(): void {
    if (this.isOver) return;
    this.map.getSource<GeoJSONSource>(SUMS)?.setData({ type: "FeatureCollection", features: this.isHidden ? [] : this.sums() });
    this.map.getSource<GeoJSONSource>(INCIDENTS)?.setData({ type: "FeatureCollection", features: [...this.shown] });
    this.changed();
  }

  private sums(): Feature<Point>[] {
    const { kinds, answers, sums } = this.index;
    return sums.flatMap(([lon, lat, kind, severity, answer, count]) => {
      const row = { kind: kinds[kind] ?? "", severity: String(severity), answer: answers[answer] ?? "" };
      if (!isChosen(this.choice, row)) return [];
      return [{ type: "Feature" as const, geometry: { type: "Point" as const, coordinates: [lon, lat] }, properties: { worst: severity, count } }];
    });
  }
}
