import { expect, test } from "vitest";

import { boundsOf, ringAround, tilesOver } from "../src/geometry";
import { ageOf } from "../src/map/frame";
import { isStale, nameIn } from "../src/published";

test("the box around a lake with a hole and a point", () => {
  const lake = { type: "Polygon" as const, coordinates: [[[114, 30], [115, 30], [115, 31], [114, 31], [114, 30]]] };
  expect(boundsOf([lake])).toEqual([114, 30, 115, 31]);
  expect(boundsOf([lake, { type: "Point", coordinates: [116, 29] }])).toEqual([114, 29, 116, 31]);
  expect(boundsOf([])).toBeNull();
});

test("the tiles over Wuhan, and none beyond the world's edge", () => {
  expect(tilesOver(6, [114, 30, 114.5, 31])).toEqual([[52, 26]]);
  expect(tilesOver(1, [-180, -85, 180, 85])).toEqual([[0, 0], [0, 1], [1, 0], [1, 1]]);
});

test("a ring of 1 km is 1 km to the east and to the north", () => {
  const ring = ringAround(114, 30, 1000, 4);
  const metres = 111_320;
  expect(((ring[0]?.[0] ?? 0) - 114) * metres * Math.cos(Math.PI / 6)).toBeCloseTo(1000, 3);
  expect(((ring[1]?.[1] ?? 0) - 30) * metres).toBeCloseTo(1000, 3);
});

test("a water without a name in the viewer's language keeps its Chinese one", () => {
  expect(nameIn("en", { n: "东湖" })).toBe("东湖");
  expect(nameIn("zh-Hant", { n: "东湖", nt: "東湖" })).toBe("東湖");
  expect(nameIn("zh-Hans", {})).toBe("");
});

test("data is stale once older than the installation promises", () => {
  const manifest = { generated_at: "2026-11-23T10:00:00+00:00", stale_after_s: 3600 };
  const at = Date.parse("2026-11-23T11:00:00Z");
  expect(isStale(manifest, at)).toBe(false);
  expect(isStale(manifest, at + 1)).toBe(true);
});

test("an age is said in whole minutes, hours or days", () => {
  const at = "2026-11-23T10:00:00+00:00";
  const after = (minutes: number): readonly [string, number] => ageOf(at, Date.parse(at) + minutes * 60_000);
  expect([after(-5), after(59), after(60), after(47 * 60 + 59), after(48 * 60)]).toEqual([["minutes", 0], ["minutes", 59], ["hours", 1], ["hours", 47], ["days", 2]]);
});
