/** GCJ-02, the datum of Chinese maps: where on such a map a WGS-84 place lies. The formulas are those of `waters/rules.py`. */

import mainland from "../../../waterwatch/waters/builtin/mainland.json";

type Ring = readonly (readonly number[])[];

const A = 6378245.0; // semi-major axis of the Krasovsky 1940 ellipsoid, m
const EE = 0.00669342162296594323; // its eccentricity squared

/** Longitude and latitude in GCJ-02 of a place in WGS-84; the same off the mainland, where that datum is not in use. */
export function toGcj02(lon: number, lat: number): [number, number] {
  return isMainland(lon, lat) ? shift(lon, lat) : [lon, lat];
}

/** Inside the outline, by counting crossings; a hole's ring turns it round again. */
export function isMainland(lon: number, lat: number): boolean {
  let isInside = false;
  for (const ring of (mainland as { coordinates: Ring[][] }).coordinates.flat()) {
    for (let index = 0, before = ring.length - 1; index < ring.length; before = index, index += 1) {
      const [x1 = 0, y1 = 0] = ring[index] ?? [];
      const [x2 = 0, y2 = 0] = ring[before] ?? [];
      if (y1 > lat !== y2 > lat && lon < ((x2 - x1) * (lat - y1)) / (y2 - y1) + x1) isInside = !isInside;
    }
  }
  return isInside;
}

function shift(lon: number, lat: number): [number, number] {
  const [x, y, { PI, sin, sqrt, abs }] = [lon - 105, lat - 35, Math];
  const wave = 20 * sin(6 * x * PI) + 20 * sin(2 * x * PI);
  let north = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * sqrt(abs(x));
  north += ((wave + 20 * sin(y * PI) + 40 * sin((y / 3) * PI)) * 2) / 3;
  north += ((160 * sin((y / 12) * PI) + 320 * sin((y * PI) / 30)) * 2) / 3;
  let east = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * sqrt(abs(x));
  east += ((wave + 20 * sin(x * PI) + 40 * sin((x / 3) * PI)) * 2) / 3;
  east += ((150 * sin((x / 12) * PI) + 300 * sin((x / 30) * PI)) * 2) / 3;
  const phi = (lat * PI) / 180;
  const magic = 1 - EE * sin(phi) ** 2;
  const root = sqrt(magic);
  return [lon + (east * 180) / ((A / root) * Math.cos(phi) * PI), lat + (north * 180) / (((A * (1 - EE)) / (magic * root)) * PI)];
}
