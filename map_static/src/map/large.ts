/** The names of the large waters, out of the archive's widest tiles: what a phone can find without a server, wherever the map stands. */

import type { Published } from "../published";
import { readTile } from "./archive";
import type { Label } from "./known";

/** China at zoom 3: about a hundred kilobytes, and the names one would look for. */
const TILES = [[3, 5, 2], [3, 6, 2], [3, 5, 3], [3, 6, 3]] as const;
const LAYER = "labels";

/** Their labels, as far as they can be read: without a network, what was read before. */
export async function largeLabels(published: Pick<Published, "manifest" | "base" | "head">): Promise<Label[]> {
  const tiles = TILES.map(async ([z, x, y]) => {
    const bytes = await readTile(published, z, x, y).catch(() => undefined);
    return bytes ? labelsOf(new Uint8Array(bytes), z, x, y) : [];
  });
  return (await Promise.all(tiles)).flat();
}

/** The points of a tile's layer of names (Mapbox Vector Tile 2.1, 4). Of numbers only whole ones are read. */
export function labelsOf(tile: Uint8Array, z: number, x: number, y: number): Label[] {
  const found: Label[] = [];
  for (const [, layer] of fields(tile).filter(([tag]) => tag === 3)) {
    if (!(layer instanceof Uint8Array)) continue;
    const parts = fields(layer);
    const of = (tag: number): Uint8Array[] => parts.flatMap(([known, value]) => (known === tag && value instanceof Uint8Array ? [value] : []));
    if (text(of(1)[0]) !== LAYER) continue;
    const keys = of(3).map(text);
    const values = of(4).map((value) => (([tag, one]) => (tag === 1 ? text(one as Uint8Array) : typeof one === "number" ? (tag === 6 ? unzigzag(one) : one) : undefined))(fields(value)[0] ?? [0, 0]));
    const extent = Number(parts.find(([tag]) => tag === 5)?.[1] ?? 4096);
    for (const feature of of(2)) {
      const packed = (tag: number): number[] => numbers(fields(feature).find(([known]) => known === tag)?.[1]);
      const [, dx = 0, dy = 0] = packed(4);
      const tags = packed(2);
      const properties = Object.fromEntries(Array.from({ length: tags.length / 2 }, (_, nth) => [keys[tags[2 * nth] ?? 0] ?? "", values[tags[2 * nth + 1] ?? 0]]));
      found.push({ geometry: { type: "Point", coordinates: degrees(z, x + unzigzag(dx) / extent, y + unzigzag(dy) / extent) }, properties: properties as unknown as Label["properties"] });
    }
  }
  return found;
}

/** A message's fields: number and value. Floats are passed over. */
function fields(bytes: Uint8Array): [number, number | Uint8Array][] {
  const found: [number, number | Uint8Array][] = [];
  for (let at = 0; at < bytes.length; ) {
    const [key, start] = varint(bytes, at);
    const [tag, type] = [Math.floor(key / 8), key % 8];
    if (type === 1 || type === 5) {
      at = start + (type === 1 ? 8 : 4);
      found.push([tag, bytes.subarray(start, at)]);
      continue;
    }
    const [value, next] = varint(bytes, start);
    at = type === 2 ? next + value : next;
    found.push([tag, type === 2 ? bytes.subarray(next, at) : value]);
  }
  return found;
}

function numbers(packed: number | Uint8Array | undefined): number[] {
  const found: number[] = [];
  if (!(packed instanceof Uint8Array)) return found;
  for (let at = 0; at < packed.length; ) {
    const [value, next] = varint(packed, at);
    found.push(value);
    at = next;
  }
  return found;
}

function varint(bytes: Uint8Array, start: number): [number, number] {
  let [value, factor, at] = [0, 1, start];
  for (;;) {
    const byte = bytes[at] ?? 0;
    at += 1;
    value += (byte % 128) * factor;
    if (byte < 128) return [value, at];
    factor *= 128;
  }
}

function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

function text(bytes: Uint8Array | undefined): string {
  return new TextDecoder().decode(bytes);
}

function degrees(z: number, x: number, y: number): [number, number] {
  const count = 2 ** z;
  return [(x / count) * 360 - 180, (Math.atan(Math.sinh(Math.PI * (1 - (2 * y) / count))) * 180) / Math.PI];
}
