import type { FeatureCollection, Point } from "geojson";
import { expect, test } from "vitest";

import { placed } from "../src/office/map";

test("a case that was taken back is on no map, and the others stay where they are", () => {
  const told = { code: "A", severity: 3, water: "长江", kind_words: "", state_words: "", agency: "", url: "", is_late: false };
  const cases: FeatureCollection<Point | null, typeof told> = {
    type: "FeatureCollection",
    features: [
      { type: "Feature", geometry: { type: "Point", coordinates: [114.4, 30.6] }, properties: told },
      { type: "Feature", geometry: null, properties: { ...told, code: "B" } },
    ],
  };
  expect(placed(cases).features.map((one) => [one.properties.code, one.geometry.coordinates])).toEqual([["A", [114.4, 30.6]]]);
});
