import { expect, test } from "vitest";

import { anchorOf, boundsOf, ringAround } from "../src/geometry";
import { isStale, nameIn, type WaterFeature } from "../src/published";

const properties = { feature_id: 1, kind: "lake", water: "donghu", rank: 3, name_zh_hans: "东湖", name_zh_hant: null, name_en: null };
const lake: WaterFeature = {
  type: "Feature",
  properties,
  geometry: { type: "Polygon", coordinates: [[[114, 30], [115, 30], [115, 31], [114, 31], [114, 30]]] },
};

test("a lake's box and its middle", () => {
  expect(boundsOf([lake])).toEqual([114, 30, 115, 31]);
  expect(anchorOf(lake)).toEqual([114.5, 30.5]);
  expect(boundsOf([])).toBeNull();
});

test("a ring of 1 km is 1 km to the east and to the north", () => {
  const ring = ringAround(114, 30, 1000, 4);
  const metres = 111_320;
  expect(((ring[0]?.[0] ?? 0) - 114) * metres * Math.cos(Math.PI / 6)).toBeCloseTo(1000, 3);
  expect(((ring[1]?.[1] ?? 0) - 30) * metres).toBeCloseTo(1000, 3);
});

test("a water without a name in the viewer's language keeps its Chinese one", () => {
  expect(nameIn("en", properties)).toBe("东湖");
  expect(nameIn("en", { ...properties, name_zh_hans: null })).toBe("donghu");
});

test("data is stale once older than the installation promises", () => {
  const manifest = { generated_at: "2026-11-23T10:00:00+00:00", geometry: "", levels: "", incidents: "", snapshot: "", stale_after_s: 3600 };
  const at = Date.parse("2026-11-23T11:00:00Z");
  expect(isStale(manifest, at)).toBe(false);
  expect(isStale(manifest, at + 1)).toBe(true);
});
