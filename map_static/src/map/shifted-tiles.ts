/**
 * Raster tiles of a map in GCJ-02, put together so that they fit ours: each tile is cut from up to four of theirs, moved by
 * what the datum moves its middle, in whole pixels. Where the datum is not in use, and where it moves less than a pixel,
 * a tile stays as it is.
 */

import { addProtocol } from "maplibre-gl";

import { piecesOf, TILE_PX, type Piece } from "./pieces";

const SCHEME = "gcj02";
let isKnown = false;

/** The address under which MapLibre asks for the shifted tiles of a source. */
export function shifted(template: string): string {
  if (!isKnown) addProtocol(SCHEME, answer);
  isKnown = true;
  return `${SCHEME}://${hidePlaces(template)}#{z}/{x}/{y}`;
}

async function answer({ url }: { url: string }, abort: AbortController): Promise<{ data: ArrayBuffer }> {
  const at = url.lastIndexOf("#");
  const template = url.slice(SCHEME.length + 3, at);
  const [z = 0, x = 0, y = 0] = url.slice(at + 1).split("/").map(Number);
  const pieces = piecesOf(z, x, y);
  const read = (piece: Piece): Promise<Response> => fetch(fillIn(template, z, piece.x, piece.y), { signal: abort.signal, credentials: "omit" });
  const [only] = pieces;
  if (pieces.length === 1 && only) return { data: await (await read(only)).arrayBuffer() };
  const context = Object.assign(document.createElement("canvas"), { width: TILE_PX, height: TILE_PX }).getContext("2d");
  if (!context) throw new Error("no canvas");
  await Promise.all(
    pieces.map(async (piece) => {
      const response = await read(piece);
      if (!response.ok) return; // a hole is better than no tile
      const image = await createImageBitmap(await response.blob());
      context.drawImage(image, piece.left, piece.top, TILE_PX, TILE_PX);
      image.close();
    }),
  );
  const blob = await new Promise<Blob | null>((resolve) => context.canvas.toBlob(resolve));
  return { data: (await blob?.arrayBuffer()) ?? new ArrayBuffer(0) };
}

/** MapLibre fills in the first `{z}/{x}/{y}` it finds: the template keeps its own under other names. */
function hidePlaces(template: string): string {
  return template.replace("{z}", "(z)").replace("{x}", "(x)").replace("{y}", "(y)");
}

function fillIn(hidden: string, z: number, x: number, y: number): string {
  return hidden.replace("(z)", String(z)).replace("(x)", String(x)).replace("(y)", String(y));
}
