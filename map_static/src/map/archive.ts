/** Reads the published geometry: one PMTiles file, of which a map asks for the pieces it shows (HTTP ranges). */

import { addProtocol } from "maplibre-gl";
import { PMTiles, type RangeResponse, type Source } from "pmtiles";

import { HEAD_BYTES, readPiece, type Published } from "../published";

const SCHEME = "waters";
/** An event of the window: a tile could not be read, so that a place without colour may not be one without a warning. */
export const TILE_FAILED = "map-tile-failed";
let isKnown = false;
const archives = new Map<string, PMTiles>();

/** Where the header names the closest zoom there are tiles of (PMTiles 3, 3.2). */
const MAX_ZOOM_AT = 101;
/** While nothing is published. */
const NO_ZOOM = 0;

/** Pieces by plain ranges. The file never changes under its name: no entity tag is compared, and a cache may keep each piece. */
class Pieces implements Source {
  constructor(
    private readonly url: string,
    private readonly head: ArrayBuffer,
  ) {}

  getKey(): string {
    return this.url;
  }

  async getBytes(offset: number, length: number, signal?: AbortSignal): Promise<RangeResponse> {
    const isRead = offset + length <= this.head.byteLength || (offset === 0 && length === HEAD_BYTES);
    return { data: isRead ? this.head.slice(offset, offset + length) : await readPiece(this.url, offset, length, signal) };
  }
}

export interface Tiles {
  /** The address under which MapLibre asks for tiles, with `{z}`, `{x}` and `{y}`. */
  readonly address: string;
  readonly maxZoom: number;
}

/** The tiles of an archive; where none is published yet, tiles without anything. */
export function tilesOf(published: Pick<Published, "manifest" | "base" | "head"> | null): Tiles {
  if (!isKnown) addProtocol(SCHEME, answer);
  isKnown = true;
  if (!published?.manifest.tiles) return { address: `${SCHEME}://none#{z}/{x}/{y}`, maxZoom: NO_ZOOM };
  const { href } = new URL(published.manifest.tiles, published.base);
  if (!archives.has(href)) archives.set(href, new PMTiles(new Pieces(href, published.head)));
  return { address: `${SCHEME}://${href}#{z}/{x}/{y}`, maxZoom: new DataView(published.head).getUint8(MAX_ZOOM_AT) };
}

/** One tile's bytes, unpacked; nothing where there is none. */
export async function readTile(published: Pick<Published, "manifest" | "base" | "head">, z: number, x: number, y: number): Promise<ArrayBuffer | undefined> {
  tilesOf(published);
  const { href } = new URL(published.manifest.tiles ?? "", published.base);
  return (await archives.get(href)?.getZxy(z, x, y))?.data;
}

async function answer({ url }: { url: string }, abort: AbortController): Promise<{ data: ArrayBuffer }> {
  const [address = "", place = ""] = url.slice(SCHEME.length + 3).split("#");
  const [z = 0, x = 0, y = 0] = place.split("/").map(Number);
  const found = await archives.get(address)?.getZxy(z, x, y, abort.signal).catch((error: unknown) => {
    if (!abort.signal.aborted) dispatchEvent(new Event(TILE_FAILED));
    throw error;
  });
  return { data: found?.data ?? new ArrayBuffer(0) }; // where no tile is, there is no water
}
