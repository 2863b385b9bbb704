/** The published map: one small manifest that names immutable files. See docs/api.md for the contract. */

import type { Feature, FeatureCollection, LineString, MultiLineString, MultiPolygon, Point, Polygon } from "geojson";

export interface Manifest {
  readonly generated_at: string;
  readonly geometry: string;
  readonly levels: string;
  readonly incidents: string;
  readonly snapshot: string;
  readonly stale_after_s: number;
}

export interface WaterProperties {
  readonly feature_id: number;
  readonly kind: string;
  readonly water: string;
  readonly rank: number;
  readonly name_zh_hans: string | null;
  readonly name_zh_hant: string | null;
  readonly name_en: string | null;
}

export interface IncidentProperties {
  readonly code: string;
  readonly kind: string;
  readonly severity: number;
  readonly water: string;
  readonly opened_on: string;
}

export type WaterGeometry = LineString | MultiLineString | Polygon | MultiPolygon;
export type WaterFeature = Feature<WaterGeometry, WaterProperties>;
export type Waters = FeatureCollection<WaterGeometry, WaterProperties>;
export type Incidents = FeatureCollection<Point, IncidentProperties>;
export type Levels = ReadonlyArray<readonly [number, number]>;

export interface Published {
  readonly manifest: Manifest;
  readonly waters: Waters;
  readonly levels: Levels;
  readonly incidents: Incidents;
}

/** Nothing was published yet: an installation's first minutes. */
export class NotPublished extends Error {}

/** Read the manifest. Throws {@link NotPublished} on 404 and `Error` for anything else that fails. */
export async function readManifest(address: string): Promise<Manifest> {
  const response = await fetch(address, { cache: "no-cache" });
  if (response.status === 404) throw new NotPublished();
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  return (await response.json()) as Manifest;
}

/** Read everything the manifest names, at once. The files never change under their names, so caches may keep them. */
export async function readPublished(address: string): Promise<Published> {
  const manifest = await readManifest(address);
  const base = new URL(address, location.href);
  const [waters, levels, incidents] = await Promise.all([
    readFile<Waters>(new URL(manifest.geometry, base)),
    readFile<{ levels: Levels }>(new URL(manifest.levels, base)),
    readFile<Incidents>(new URL(manifest.incidents, base)),
  ]);
  return { manifest, waters, levels: levels.levels, incidents };
}

async function readFile<T>(address: URL): Promise<T> {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address.pathname}: ${response.status}`);
  return (await response.json()) as T;
}

/** A water's name in the viewer's language, else in Chinese, else in English, else its public id. */
export function nameIn(language: string, properties: WaterProperties): string {
  const chosen = { "zh-Hant": properties.name_zh_hant, en: properties.name_en }[language];
  return chosen ?? properties.name_zh_hans ?? properties.name_en ?? properties.water;
}

/** Whether the data is older than the installation promises. `now` in milliseconds since the epoch. */
export function isStale(manifest: Manifest, now: number): boolean {
  return now - Date.parse(manifest.generated_at) > manifest.stale_after_s * 1000;
}
