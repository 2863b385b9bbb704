/** The published map: one small manifest that names files that never change. See docs/published-map.md for the contract. */

import type { FeatureCollection, Point } from "geojson";

import { decode, RANKS, type Coded, type Rank } from "./levels";

export const MANIFEST = "/published/map.json";

export interface Manifest {
  readonly version: number;
  readonly generated_at: string;
  readonly stale_after_s: number;
  readonly tiles?: string;
  readonly levels: string;
  /** Older publications have none. */
  readonly expected?: string;
  readonly incidents: string;
  readonly history: Readonly<Record<string, string>>;
  readonly snapshot: string;
}

/** What every water of the archive says of itself; a name is left out where it is unknown or the simplified one. */
export interface WaterProperties {
  readonly w: string;
  readonly o?: number;
  readonly n?: string;
  readonly nt?: string;
  readonly ne?: string;
}

export interface IncidentProperties {
  readonly code: string;
  readonly kind: string;
  readonly severity: number;
  readonly answer: string;
  readonly water: string;
  readonly names: Readonly<Record<string, string>>;
  readonly feature_id: number;
  readonly opened_on: string;
  readonly confirmed_on: string;
}

/** Longitude, latitude, index of the kind, severity, index of the answer, count. */
export type Sum = readonly [number, number, number, number, number, number];

export interface IncidentIndex {
  readonly zoom: number;
  readonly kinds: readonly string[];
  readonly answers: readonly string[];
  readonly tiles: Readonly<Record<string, string>>;
  readonly sums: readonly Sum[];
}

export const NO_INCIDENTS: IncidentIndex = { zoom: 6, kinds: [], answers: [], tiles: {}, sums: [] };

export type Incidents = FeatureCollection<Point, IncidentProperties>;

/** The level of each coloured feature, and of each that lies below one. */
export interface Levels {
  readonly confirmed: ReadonlyMap<number, Rank>;
  readonly approaching: ReadonlyMap<number, Rank>;
}

export const NO_LEVELS: Levels = { confirmed: new Map(), approaching: new Map() };

/** Each feature with its level and the days of the month it held, both included. */
export interface Month {
  readonly month: string;
  readonly spans: Readonly<Record<string, ReadonlyArray<readonly [number, number, number]>>>;
}

/** A publication as it was read: the pointer, where its files lie, the levels, and the archive's first piece. */
export interface Published {
  readonly manifest: Manifest;
  readonly base: URL;
  readonly levels: Levels;
  readonly head: ArrayBuffer;
}

/** So much of an archive is its header and its root directory (PMTiles 3, 3.1). */
export const HEAD_BYTES = 16_384;
const ARCHIVE_MAGIC = "PMTiles\u0003";

/** Nothing was published yet: an installation's first minutes. */
export class NotPublished extends Error {}

/** A file that the pointer names is not there: it was superseded, and the pointer has to be read again. */
export class Missing extends Error {}

/** The archive is not one: no second try helps until it is published anew. */
export class Broken extends Error {}

/** Read the manifest. Throws {@link NotPublished} on 404 and `Error` for anything else that fails. */
export async function readManifest(address: string): Promise<Manifest> {
  const response = await fetch(address, { cache: "no-cache", credentials: "omit" });
  if (response.status === 404) throw new NotPublished();
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  return (await response.json()) as Manifest;
}

/**
 * Read the manifest, the levels and the archive's head. Throws {@link NotPublished} also before the first archive was built,
 * {@link Broken} where the archive is none. What is missing was superseded between two readings: then all is read once more.
 */
export async function readPublished(address: string): Promise<Published> {
  return readOnce(address).catch((error: unknown) => {
    if (error instanceof Missing) return readOnce(address);
    throw error;
  });
}

async function readOnce(address: string): Promise<Published> {
  const manifest = await readManifest(address);
  if (!manifest.tiles) throw new NotPublished();
  const base = new URL(address, location.href);
  // The archive's head comes along with the levels, while the map's code is still on its way.
  const [levels, head] = await Promise.all([readLevels(manifest, base), readPiece(new URL(manifest.tiles, base).href, 0, HEAD_BYTES)]);
  if (!isArchive(head)) throw new Broken(manifest.tiles);
  return { manifest, base, levels, head };
}

/** Whether bytes begin as PMTiles of version 3 do (3.1). */
export function isArchive(head: ArrayBuffer): boolean {
  return head.byteLength > ARCHIVE_MAGIC.length && new TextDecoder("latin1").decode(head.slice(0, ARCHIVE_MAGIC.length)) === ARCHIVE_MAGIC;
}

/** What this page has read of archives, so that the service worker can keep it: `address` and `bytes=first-last`. */
export const readRanges: { readonly url: string; readonly range: string }[] = [];

/** A piece of an archive; from a host that knows no ranges the whole of it, cut. */
export async function readPiece(url: string, offset: number, length: number, signal?: AbortSignal): Promise<ArrayBuffer> {
  const range = `bytes=${offset}-${offset + length - 1}`;
  const response = await fetch(url, { headers: { Range: range }, credentials: "omit", ...(signal && { signal }) });
  if (response.status === 404) throw new Missing(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const bytes = await response.arrayBuffer();
  if (response.status !== 206) return bytes.slice(offset, offset + length);
  readRanges.push({ url, range });
  return bytes;
}

export async function readLevels(manifest: Manifest, base: URL): Promise<Levels> {
  const read = await readFile<{ confirmed?: Coded; approaching?: Coded }>(new URL(manifest.levels, base));
  return { confirmed: decode(read.confirmed), approaching: decode(read.approaching) };
}

/** One of the files that a manifest names. They never change under their names, so caches may keep them. Throws {@link Missing} on 404. */
export async function readFile<T>(address: URL): Promise<T> {
  const response = await fetch(address, { credentials: "omit" });
  if (response.status === 404) throw new Missing(address.pathname);
  if (!response.ok) throw new Error(`${address.pathname}: ${response.status}`);
  return (await response.json()) as T;
}

/** The incidents' index; of a superseded manifest that of the one at `address`. Null where it cannot be read. */
export async function readIndex(manifest: Manifest, base: URL, address: string): Promise<IncidentIndex | null> {
  const read = async (of: Manifest): Promise<IncidentIndex | null> => {
    const index = await readFile<IncidentIndex>(new URL(of.incidents, base));
    return Array.isArray(index.sums) && Array.isArray(index.kinds) && Array.isArray(index.answers) && index.tiles ? index : null;
  };
  try {
    return await read(manifest);
  } catch (error) {
    if (!(error instanceof Missing)) return null;
    return readManifest(address).then(read).catch(() => null);
  }
}

/** A water's name in the viewer's language, else in Chinese, else in English; nothing where it has none. */
export function nameIn(language: string, water: Pick<WaterProperties, "n" | "nt" | "ne">): string {
  const chosen = { "zh-Hant": water.nt, en: water.ne }[language];
  return chosen ?? water.n ?? water.ne ?? "";
}

/** The same of names by language, as incidents carry them. */
export function nameOf(language: string, names: Readonly<Record<string, string>>): string {
  return names[language] ?? names["zh-Hans"] ?? names.en ?? "";
}

/** Each feature's level on one day of a month; where two hold, the higher one. */
export function levelsOn(month: Month, day: number): Map<number, Rank> {
  const levels = new Map<number, Rank>();
  for (const rank of RANKS) {
    for (const [id, first, last] of month.spans[String(rank)] ?? []) if (first <= day && day <= last) levels.set(id, rank);
  }
  return levels;
}

/** Whether the data is older than the installation promises. `now` in milliseconds since the epoch. */
export function isStale(manifest: Pick<Manifest, "generated_at" | "stale_after_s">, now: number): boolean {
  return now - Date.parse(manifest.generated_at) > manifest.stale_after_s * 1000;
}
