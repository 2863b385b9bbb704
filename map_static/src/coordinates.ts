/** Coordinates as people write them. The server decides (`reports/forms.py`); this only spares a round trip. */

export type Axis = "lon" | "lat";

const LIMIT_DEG: Readonly<Record<Axis, number>> = { lon: 180, lat: 90 };
const HEMISPHERE: Readonly<Record<string, readonly [Axis, 1 | -1]>> = {
  E: ["lon", 1],
  W: ["lon", -1],
  N: ["lat", 1],
  S: ["lat", -1],
};
const CHINESE: Readonly<Record<string, string>> = { 东: "E", 東: "E", 西: "W", 北: "N", 南: "S" };
const DECIMAL = /^[+-]?(?:\d{1,4}(?:\.\d*)?|\.\d+)$/;
const DMS =
  /^([EWNS])?\s*(\d{1,3}(?:\.\d+)?)\s*[°º度D:\s]?\s*(?:(\d{1,2}(?:\.\d+)?)\s*['′分:\s]?\s*(?:(\d{1,2}(?:\.\d+)?)\s*(?:"|″|''|′′|秒)?)?)?\s*([EWNS])?$/;

/** Degrees from decimal or degree-minute-second text, or null where it is no coordinate of this axis. */
export function parseCoordinate(text: string, axis: Axis): number | null {
  const folded = fold(text);
  const degrees = DECIMAL.test(folded) ? Number(folded) : fromDms(folded, axis);
  return degrees !== null && Math.abs(degrees) <= LIMIT_DEG[axis] ? degrees : null;
}

/** Degrees to about ten centimetres, as the form sends them. */
export function formatDegrees(degrees: number): string {
  return degrees.toFixed(6);
}

function fold(text: string): string {
  return text
    .replace(/º/g, "°")
    .normalize("NFKC")
    .replace(/[’‘]/g, "'")
    .replace(/[”“]/g, '"')
    .replace(/−/g, "-")
    .replace(/[经經纬緯]/g, "")
    .replace(/[东東西北南]/g, (word) => CHINESE[word] ?? word)
    .trim()
    .toUpperCase();
}

function fromDms(folded: string, axis: Axis): number | null {
  const match = DMS.exec(folded);
  if (!match) return null;
  const [, before, degrees = "", minutes, seconds, after] = match;
  if ((before && after) || (degrees.includes(".") && minutes) || (minutes?.includes(".") && seconds)) return null;
  if (Number(minutes ?? 0) >= 60 || Number(seconds ?? 0) >= 60) return null;
  const [ofAxis, sign] = HEMISPHERE[before ?? after ?? ""] ?? [axis, 1];
  if (ofAxis !== axis) return null;
  return sign * (Number(degrees) + Number(minutes ?? 0) / 60 + Number(seconds ?? 0) / 3600);
}
