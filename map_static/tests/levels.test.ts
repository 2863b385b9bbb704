import { createExpression, validateStyleMin } from "@maplibre/maplibre-gl-style-spec";
import { describe, expect, test } from "vitest";

import { LEVEL_COLOURS, LEVEL_SHAPES, LEVEL_WIDTHS_PX, RANKS, toRank, worstByWater } from "../src/levels";
import { listedWaters } from "../src/map/list";
import { buildStyle, marksOf, riverWidth } from "../src/map/style";
import type { WaterFeature, Waters } from "../src/published";

const PALETTE = { ground: "#fff", river: "#89a", lake: "#cde", lakeLine: "#abc", halo: "#fff", label: "#345", ink: "#123" };

const reach = (id: number, water: string, names: readonly [string, string, string], rank = 1): WaterFeature => ({
  type: "Feature",
  geometry: { type: "LineString", coordinates: [[id, 30], [id + 0.5, 31], [id + 1, 30]] },
  properties: { feature_id: id, kind: "reach", water, rank, name_zh_hans: names[0], name_zh_hant: names[1], name_en: names[2] },
});
const WATERS: Waters = {
  type: "FeatureCollection",
  features: [
    reach(100, "changjiang", ["长江", "長江", "Yangtze River"]),
    reach(101, "changjiang", ["长江", "長江", "Yangtze River"]),
    reach(102, "hanjiang", ["汉江", "漢江", "Han River"], 2),
  ],
};

test("what is none of the four ranks is no warning", () => {
  expect([1, "3", 4, 0, 5, 2.5, null, undefined, "red"].map(toRank)).toEqual([1, 3, 4, 0, 0, 0, 0, 0, 0]);
});

test("no two levels share a colour, a width or a shape", () => {
  for (const of of [LEVEL_COLOURS, LEVEL_WIDTHS_PX, LEVEL_SHAPES]) {
    expect(new Set(RANKS.map((rank) => JSON.stringify(of[rank]))).size).toBe(4);
  }
});

test("a water shows the worst of its reaches", () => {
  const waterOf = new Map([[1, "a"], [2, "a"], [3, "b"]]);
  expect(worstByWater([[1, 2], [2, 4], [3, 1], [99, 4]], waterOf)).toEqual(new Map([["a", 4], ["b", 1]]));
});

test("the list names coloured waters in the viewer's language, the most serious first", () => {
  const published = { waters: WATERS, levels: [[100, 1], [101, 2], [102, 4]] as [number, number][] };
  expect(listedWaters(published, "en").map((one) => [one.name, one.rank])).toEqual([["Han River", 4], ["Yangtze River", 2]]);
  expect(listedWaters(published, "zh-Hant")[0]?.name).toBe("漢江");
});

describe("the style", () => {
  const input = { waters: WATERS, incidents: { type: "FeatureCollection" as const, features: [] }, levels: new Map([[101, 3 as const]]), language: "zh-Hans", palette: PALETTE };

  test("is valid, and asks nothing of any other host", () => {
    const style = buildStyle(input);
    expect(validateStyleMin(style).map((fault) => fault.message)).toEqual([]);
    expect(style.glyphs).toBeUndefined();
    expect(style.sprite).toBeUndefined();
  });

  test("draws a more serious river wider at every zoom", () => {
    const parsed = createExpression(riverWidth(0), {
      type: "number",
      "property-type": "data-driven",
      expression: { interpolated: true, parameters: ["zoom", "feature", "feature-state"] },
    } as never);
    if (parsed.result !== "success") throw new Error(JSON.stringify(parsed.value));
    for (const zoom of [2, 4, 9, 14]) {
      const widths = [0, ...RANKS].map((level) => parsed.value.evaluate({ zoom }, { type: 2, properties: { rank: 3 } }, { level }) as number);
      expect(widths).toEqual([...widths].sort((a, b) => a - b));
      expect(new Set(widths).size).toBe(5);
    }
  });

  test("puts one name on each water, on the reach that carries the level", () => {
    const marks = marksOf(input).features;
    expect(marks.map((mark) => mark.properties?.name)).toEqual(["长江", "汉江"]);
    expect(marks[0]?.properties?.level).toBe(3);
    expect(marks[0]?.geometry).toEqual({ type: "Point", coordinates: [101.5, 31] });
  });
});
