/** Reads the published geometry: one PMTiles file, of which a map asks for the pieces it shows (HTTP ranges). */

import { addProtocol } from "maplibre-gl";
import { PMTiles, type RangeResponse, type Source } from "pmtiles";

const SCHEME = "waters";
let isKnown = false;
const archives = new Map<string, PMTiles>();
/** What this page has read, so that the service worker can keep it: `address` and `bytes=first-last`. */
export const readRanges: { readonly url: string; readonly range: string }[] = [];

/**
 * Pieces by plain ranges. The file never changes under its name, so no entity tag is compared, and a cache may keep each
 * piece. A host that answers with the whole file (no ranges) is served from that answer.
 */
class Pieces implements Source {
  private whole: Promise<ArrayBuffer> | null = null;

  constructor(private readonly url: string) {}

  getKey(): string {
    return this.url;
  }

  async getBytes(offset: number, length: number, signal?: AbortSignal): Promise<RangeResponse> {
    if (this.whole) return { data: (await this.whole).slice(offset, offset + length) };
    const range = `bytes=${offset}-${offset + length - 1}`;
    const response = await fetch(this.url, { headers: { Range: range }, credentials: "omit", ...(signal && { signal }) });
    if (response.status === 200) {
      this.whole = response.arrayBuffer();
      return { data: (await this.whole).slice(offset, offset + length) };
    }
    if (response.status !== 206) throw new Error(`${this.url}: ${response.status}`);
    readRanges.push({ url: this.url, range });
    return { data: await response.arrayBuffer() };
  }
}

/** The address under which MapLibre asks for the tiles of an archive; of none, tiles without anything. */
export function tilesOf(archive: URL | null): string {
  if (!isKnown) addProtocol(SCHEME, answer);
  isKnown = true;
  const address = archive?.href ?? "none";
  if (archive && !archives.has(address)) archives.set(address, new PMTiles(new Pieces(address)));
  return `${SCHEME}://${address}#{z}/{x}/{y}`;
}

async function answer({ url }: { url: string }, abort: AbortController): Promise<{ data: ArrayBuffer }> {
  const [address = "", place = ""] = url.slice(SCHEME.length + 3).split("#");
  const [z = 0, x = 0, y = 0] = place.split("/").map(Number);
  const found = await archives.get(address)?.getZxy(z, x, y, abort.signal);
  return { data: found?.data ?? new ArrayBuffer(0) }; // where no tile is, there is no water
}
