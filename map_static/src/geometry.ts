/** Small geometry on degrees of WGS-84, for drawing only: nobody is told a distance computed here. */

import type { Position } from "geojson";

import type { WaterFeature, WaterGeometry } from "./published";

/** West, south, east, north. */
export type Bounds = readonly [number, number, number, number];

/** Every line or outer ring of a water. */
export function pathsOf(geometry: WaterGeometry): Position[][] {
  switch (geometry.type) {
    case "LineString":
      return [geometry.coordinates];
    case "MultiLineString":
      return geometry.coordinates;
    case "Polygon":
      return geometry.coordinates.slice(0, 1);
    case "MultiPolygon":
      return geometry.coordinates.flatMap((polygon) => polygon.slice(0, 1));
  }
}

/** The box around features, or null when there are none. */
export function boundsOf(features: readonly WaterFeature[]): Bounds | null {
  let [west, south, east, north] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const feature of features) {
    for (const [lon, lat] of pathsOf(feature.geometry).flat() as [number, number][]) {
      [west, south] = [Math.min(west, lon), Math.min(south, lat)];
      [east, north] = [Math.max(east, lon), Math.max(north, lat)];
    }
  }
  return west > east ? null : [west, south, east, north];
}

/** Where a feature's mark or name stands: the middle vertex of its longest path, or the middle of a lake's box. */
export function anchorOf(feature: WaterFeature): [number, number] {
  if (feature.geometry.type.endsWith("Polygon")) {
    const box = boundsOf([feature]) ?? [0, 0, 0, 0];
    return [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  }
  const longest = pathsOf(feature.geometry).reduce((a, b) => (b.length > a.length ? b : a));
  const [lon = 0, lat = 0] = longest[Math.floor(longest.length / 2)] ?? [];
  return [lon, lat];
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
