/** Small geometry on degrees of WGS-84, for drawing only: nobody is told a distance computed here. */

import type { Geometry, Position } from "geojson";

/** West, south, east, north. */
export type Bounds = readonly [number, number, number, number];

/** Every position of a geometry. */
export function positionsOf(geometry: Geometry): Position[] {
  if (geometry.type === "GeometryCollection") return geometry.geometries.flatMap(positionsOf);
  const positions: Position[] = [];
  const collect = (part: unknown): void => {
    if (!Array.isArray(part)) return;
    if (typeof part[0] === "number") positions.push(part as Position);
    else part.forEach(collect);
  };
  collect(geometry.coordinates);
  return positions;
}

/** The box around geometries, or null when there are none. */
export function boundsOf(geometries: readonly Geometry[]): Bounds | null {
  let [west, south, east, north] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [lon = 0, lat = 0] of geometries.flatMap(positionsOf)) {
    [west, south] = [Math.min(west, lon), Math.min(south, lat)];
    [east, north] = [Math.max(east, lon), Math.max(north, lat)];
  }
  return west > east ? null : [west, south, east, north];
}

/** Columns and rows of a zoom's tiles that a box touches (Web Mercator, as every web map numbers them). */
export function tilesOver(zoom: number, [west, south, east, north]: Bounds): [number, number][] {
  const count = 2 ** zoom;
  const inside = (tile: number): number => Math.min(count - 1, Math.max(0, tile));
  const column = (lon: number): number => inside(Math.floor(((lon + 180) / 360) * count));
  const row = (lat: number): number => inside(Math.floor(((1 - Math.asinh(Math.tan((lat * Math.PI) / 180)) / Math.PI) / 2) * count));
  const found: [number, number][] = [];
  for (let x = column(west); x <= column(east); x += 1) for (let y = row(north); y <= row(south); y += 1) found.push([x, y]);
  return found;
}

/** A circle of `radius_m` as a closed ring, for drawing how sure a position is. */
export function ringAround(lon: number, lat: number, radiusM: number, corners = 48): [number, number][] {
  const metresPerDegree = 111_320; // of latitude, on the mean sphere
  const scale = Math.cos((lat * Math.PI) / 180);
  return Array.from({ length: corners + 1 }, (_, index) => {
    const angle = (index / corners) * 2 * Math.PI;
    return [
      lon + (Math.cos(angle) * radiusM) / (metresPerDegree * scale),
      lat + (Math.sin(angle) * radiusM) / metresPerDegree,
    ];
  });
}
