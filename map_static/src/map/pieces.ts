/** Which tiles of a map in GCJ-02 make up one of ours, and where each of them comes to lie. */

import { toGcj02 } from "./datum";

export const TILE_PX = 256;

export interface Piece {
  readonly x: number;
  readonly y: number;
  /** Where its upper left corner comes to lie in the new tile. */
  readonly left: number;
  readonly top: number;
}

/** Which of their tiles make up one of ours. */
export function piecesOf(z: number, x: number, y: number): Piece[] {
  const size = TILE_PX * 2 ** z;
  const [middleX, middleY] = [(x + 0.5) * TILE_PX, (y + 0.5) * TILE_PX];
  const lon = (middleX / size) * 360 - 180;
  const lat = (Math.atan(Math.sinh(Math.PI * (1 - (2 * middleY) / size))) * 180) / Math.PI;
  const [theirLon, theirLat] = toGcj02(lon, lat);
  const dx = Math.round(((theirLon + 180) / 360) * size - middleX);
  const dy = Math.round(((1 - Math.asinh(Math.tan((theirLat * Math.PI) / 180)) / Math.PI) / 2) * size - middleY);
  const [left, top] = [x * TILE_PX + dx, y * TILE_PX + dy];
  const pieces: Piece[] = [];
  for (let column = Math.floor(left / TILE_PX); column * TILE_PX < left + TILE_PX; column += 1) {
    for (let row = Math.floor(top / TILE_PX); row * TILE_PX < top + TILE_PX; row += 1) {
      pieces.push({ x: column, y: row, left: column * TILE_PX - left, top: row * TILE_PX - top });
    }
  }
  return pieces;
}
