import { describe, expect, test } from "vitest";

import { decodeExpected, merged, NOTHING_EXPECTED, readExpected } from "../src/expected";
import type { Rank } from "../src/levels";
import { listWaters } from "../src/map/list";
import { overhang } from "../src/map/popups";
import { buildStyle } from "../src/map/style";
import { arrivalWords, kmWords, windowWords } from "../src/map/windows";
import type { Manifest } from "../src/published";

const HOUR = 3_600_000;
const WORDS = {
  days: { "-1": "昨天", "0": "今天", "1": "明天", "2": "后天" },
  window_unknown: "时间不详",
  window_not_before: "不早于{day} {from}",
  window_one_day: "{day} {from}–{until}",
  window_two_days: "{day} {from} 至 {last_day} {until}",
  arrival: "预计到达：{window}",
  arrival_past: "可能已经到达（预计 {window}）",
  arrival_unknown: "何时到达不详，离事件约 {km} 公里",
};
/** On the viewer's clock, whichever zone the tests run in. */
const at = (day: number, hour: number, minute = 0): number => new Date(2026, 5, day, hour, minute).getTime();
const NOW = at(10, 9, 20);

describe("a window in words", () => {
  const words = (earliest: number | null, probable: number | null, language = "zh-Hans"): string => windowWords({ earliest, probable }, WORDS, language, NOW);

  test("moves its ends outwards to full hours", () => {
    expect(words(at(11, 14, 59), at(11, 19, 1))).toBe("明天 14:00–20:00");
    expect(words(at(11, 14), at(11, 20))).toBe("明天 14:00–20:00");
    expect(words(at(11, 14, 10), at(11, 14, 20))).toBe("明天 14:00–15:00");
    expect(words(at(11, 14), at(11, 14))).toBe("明天 14:00–15:00");
  });

  test("names the day that ends at midnight", () => {
    expect(words(at(10, 20, 30), at(10, 23, 40))).toBe("今天 20:00–24:00");
    expect(words(at(9, 20, 30), at(12, 2, 40))).toBe("昨天 20:00 至 后天 03:00");
    expect(words(at(10, 23, 30), at(10, 23, 40))).toBe("今天 23:00–24:00");
  });

  test("says a date where no word is nearer, in the viewer's language", () => {
    expect(words(at(15, 8), at(16, 9))).toBe("6月15日 08:00 至 6月16日 09:00");
    expect(words(at(15, 8), at(15, 9), "en")).toBe("15 Jun 08:00–09:00");
  });

  test("says what is not known", () => {
    expect(words(at(11, 14, 30), null)).toBe("不早于明天 14:00");
    expect(words(null, null)).toBe("时间不详");
  });

  test("tells whether it may be there already, and how far it is where no time is known", () => {
    const say = (earliest: number | null, probable: number | null): string => arrivalWords({ earliest, probable, km: 12.34 }, WORDS, "zh-Hans", NOW);
    expect(say(at(11, 14), at(11, 20))).toBe("预计到达：明天 14:00–20:00");
    expect(say(at(10, 6), at(10, 9, 19))).toBe("可能已经到达（预计 今天 06:00–10:00）");
    expect(say(at(10, 6), at(10, 9, 21))).toBe("预计到达：今天 06:00–10:00");
    expect(say(at(10, 6), null)).toBe("预计到达：不早于今天 06:00");
    expect(say(null, null)).toBe("何时到达不详，离事件约 12 公里");
    expect([0, 0.34, 9.94, 10.4, 187.6].map(kmWords)).toEqual(["0.1", "0.3", "9.9", "10", "188"]);
  });
});

describe("the published file", () => {
  const first = { code: "A", kind: "sewage_outfall", level: 2, ids: [17, -4, 100], hm: [60, 100, 40], from: [29_000_000, 60, null], to: [29_000_120, null, null], lakes: [1], dams: [1] };
  const second = { code: "B", kind: "oil_slick", level: 3, ids: [13], hm: [5], from: [null], to: [null], lakes: [], dams: [] };

  test("is read back from its steps, the gravest warning of a water first", () => {
    const found = decodeExpected({ incidents: [first, second] });
    expect([...found.keys()]).toEqual([17, 13, 113]);
    expect(found.get(17)).toEqual([{ code: "A", kind: "sewage_outfall", level: 2, km: 6, earliest: 29_000_000 * 60_000, probable: 29_000_120 * 60_000, isLake: false, isDammed: false }]);
    expect(found.get(13)?.map(({ code }) => code)).toEqual(["B", "A"]);
    expect(found.get(13)?.[1]).toMatchObject({ km: 16, earliest: 29_000_000 * 60_000 + HOUR, probable: null, isLake: true, isDammed: true });
    expect(found.get(113)?.[0]).toMatchObject({ km: 20, earliest: null, probable: null });
  });

  test("of many parts of a water, says of each incident what reaches it first", () => {
    const found = decodeExpected({ incidents: [first, second] });
    expect(merged([...found.values()]).map(({ code, km }) => [code, km])).toEqual([["B", 0.5], ["A", 6]]);
    expect(merged([])).toEqual([]);
  });

  test("is not asked for where an older pointer names none", async () => {
    const older: Manifest = { version: 2, generated_at: "", stale_after_s: 1, levels: "l", incidents: "i", history: {}, snapshot: "s" };
    expect(await readExpected(older, new URL("https://example.org/published/map.json"))).toBe(NOTHING_EXPECTED);
  });
});

test("the list names what is expected after what is there, and of a water with both each", () => {
  const seen = [
    { id: 1, properties: { w: "below", n: "下河" }, level: 0, near: 2 },
    { id: 2, properties: { w: "both", n: "两河" }, level: 1, near: 0 },
    { id: 3, properties: { w: "both", n: "两河" }, level: 0, near: 3 },
    { id: 4, properties: { w: "quiet", n: "静" }, level: 0, near: undefined },
  ];
  const listed = listWaters(seen, new Map(), "zh-Hans");
  expect(listed.map(({ name, rank, near, ids }) => [name, rank, near, [...ids]])).toEqual([["两河", 1, 3, [3]], ["下河", 0, 2, [1]]]);
});

test("hatching gives way to the colour of what is there already", () => {
  const palette = { ground: "#fff", river: "#89a", lake: "#cde", lakeLine: "#abc", halo: "#fff", label: "#345", place: "#666", zone: "#264", ink: "#123" };
  const levels = { confirmed: new Map<number, Rank>([[1, 3]]), approaching: new Map<number, Rank>([[1, 2]]) };
  const style = buildStyle({ tiles: { address: "waters://x#{z}/{x}/{y}", maxZoom: 11 }, levels, hasIncidents: true, language: "zh-Hans", palette });
  const order = style.layers.map(({ id }) => id);
  expect(order.indexOf("rivers-approaching")).toBeLessThan(order.indexOf("rivers-coloured"));
  const LEVEL = ["coalesce", ["feature-state", "level"], 0];
  for (const id of ["lakes-approaching", "rivers-approaching", "rivers-approaching-casing"]) {
    const paint = style.layers.find((layer) => layer.id === id)?.paint as Record<string, unknown>;
    expect(JSON.stringify(paint["fill-opacity"] ?? paint["line-opacity"])).toContain(JSON.stringify(["==", LEVEL, 0]));
  }
});

describe("a popup that hangs over the map's edge", () => {
  const map = { left: 16, right: 344, top: 100, bottom: 600 };
  const moved = (left: number, right: number, top: number, bottom: number): readonly number[] => overhang({ left, right, top, bottom }, map);

  test("is brought onto it", () => {
    expect(moved(40, 320, 350, 630)).toEqual([0, 38]);
    expect(moved(0, 280, 200, 400)).toEqual([-24, 0]);
    expect(moved(100, 350, 90, 300)).toEqual([14, -18]);
    expect(moved(24, 336, 108, 592)).toEqual([0, 0]);
  });

  test("shows its beginning where it does not fit", () => {
    expect(moved(40, 320, 300, 900)).toEqual([0, 192]);
    expect(moved(40, 320, 104, 900)).toEqual([0, -4]);
    expect(moved(40, 320, 108, 900)).toEqual([0, 0]);
  });
});
