import { createExpression, validateStyleMin } from "@maplibre/maplibre-gl-style-spec";
import { describe, expect, test } from "vitest";

import { decode, LEVEL_COLOURS, LEVEL_SHAPES, LEVEL_WIDTHS_PX, RANKS, toRank, type Rank } from "../src/levels";
import { listWaters } from "../src/map/list";
import { buildStyle, nameField, partsByLevel, riverWidth } from "../src/map/style";
import { levelsOn, type Levels } from "../src/published";

const PALETTE = { ground: "#fff", river: "#89a", lake: "#cde", lakeLine: "#abc", halo: "#fff", label: "#345", place: "#666", zone: "#264", ink: "#123" };

test("what is none of the four ranks is no warning", () => {
  expect([1, "3", 4, 0, 5, 2.5, null, undefined, "red"].map(toRank)).toEqual([1, 3, 4, 0, 0, 0, 0, 0, 0]);
});

test("no two levels share a colour, a width or a shape", () => {
  for (const of of [LEVEL_COLOURS, LEVEL_WIDTHS_PX, LEVEL_SHAPES]) {
    expect(new Set(RANKS.map((rank) => JSON.stringify(of[rank]))).size).toBe(4);
  }
});

test("published ids are differences, and the higher of two levels counts", () => {
  expect(decode({ "4": [17, 3, 12], "1": [17, 4], "7": [1] })).toEqual(new Map([[17, 4], [21, 1], [20, 4], [32, 4]]));
  expect(decode(undefined).size).toBe(0);
});

test("a day of the past shows what held on it, both ends included, the higher level first", () => {
  const month = { month: "2026-05", spans: { "4": [[17, 3, 9]], "2": [[17, 1, 31], [18, 10, 10]] } } as const;
  expect([2, 3, 9, 10].map((day) => [...levelsOn(month, day)])).toEqual([[[17, 2]], [[17, 4]], [[17, 4]], [[17, 2], [18, 2]]]);
});

test("the list names each coloured water once by its worst part, the most serious first, the nameless last", () => {
  const seen = [
    { properties: { w: "changjiang" }, level: 1 },
    { properties: { w: "changjiang" }, level: 2 },
    { properties: { w: "hanjiang", n: "汉江", nt: "漢江" }, level: 2 },
    { properties: { w: "brook" }, level: 2 },
    { properties: { w: "quiet", n: "静" }, level: 0 },
  ];
  const listed = listWaters(seen, new Map([["changjiang", "長江"]]), "zh-Hant");
  expect(listed.map(({ name, rank }) => [name, rank])).toEqual([["長江", 2], ["漢江", 2], ["", 2]]);
});

describe("the style", () => {
  const levels: Levels = { confirmed: new Map<number, Rank>([[101, 3], [102, 4]]), approaching: new Map<number, Rank>([[103, 2]]) };
  const input = { tiles: { address: "waters://x#{z}/{x}/{y}", maxZoom: 11 }, levels, hasIncidents: true, language: "zh-Hans", palette: PALETTE };

  test("is valid with levels and without, and asks nothing of any other host", () => {
    for (const some of [levels, { confirmed: new Map(), approaching: new Map() }]) {
      const style = buildStyle({ ...input, levels: some });
      expect(validateStyleMin(style).map((fault) => fault.message)).toEqual([]);
      expect(style.glyphs).toBeUndefined();
      expect(style.sprite).toBeUndefined();
    }
  });

  test("draws a more serious river wider at every zoom", () => {
    const parsed = createExpression(riverWidth(0), {
      type: "number",
      "property-type": "data-driven",
      expression: { interpolated: true, parameters: ["zoom", "feature", "feature-state"] },
    } as never);
    if (parsed.result !== "success") throw new Error(JSON.stringify(parsed.value));
    for (const zoom of [2, 4, 9, 14]) {
      const widths = [0, ...RANKS].map((level) => parsed.value.evaluate({ zoom }, { type: 2, properties: { o: 3 } }, { level }) as number);
      expect(widths).toEqual([...widths].sort((a, b) => a - b));
      expect(new Set(widths).size).toBe(5);
    }
  });

  test("gives each level another pattern and another shape, and hatches what is below", () => {
    const parts = partsByLevel(levels);
    expect(parts["lakes-pattern"]?.pattern).toEqual(["match", ["id"], [101], "fill-3", [102], "fill-4", "fill-1"]);
    expect(parts["river-marks"]?.icon).toEqual(["match", ["id"], [101], "level-3", [102], "level-4", "level-1"]);
    expect(parts["rivers-approaching"]?.filter).toEqual(["match", ["id"], [103], true, false]);
    expect(parts["rivers-strong-3"]?.filter).toEqual(["match", ["id"], [101], true, false]);
    expect(parts["rivers-strong-1"]?.filter).toEqual(["==", ["id"], -1]);
  });

  test("names a water in the viewer's language, else in Chinese", () => {
    expect(nameField("zh-Hant")).toEqual(["coalesce", ["get", "nt"], ["get", "n"], ["get", "ne"], ""]);
    expect(nameField("en")).toEqual(["coalesce", ["get", "ne"], ["get", "n"], ""]);
  });
});
