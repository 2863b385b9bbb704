import { GeoJSONVT } from "@maplibre/geojson-vt";
import { fromGeojsonVt } from "@maplibre/vt-pbf";
import { describe, expect, test } from "vitest";

import { countBy, EVERYTHING, existing, isChosen } from "../src/map/choice";
import { isMainland, toGcj02 } from "../src/map/datum";
import { dayBefore, readHash, writeHash } from "../src/map/hash";
import { matching, type Label } from "../src/map/known";
import { labelsOf } from "../src/map/large";
import { piecesOf } from "../src/map/pieces";
import { isArchive } from "../src/published";

const NOW = Date.parse("2026-05-20T04:00:00Z");

describe("a link to the map", () => {
  const shared = {
    view: { zoom: 7.25, lat: 30.5, lon: 114.3 },
    day: "2026-05-01",
    choice: { kind: new Set(["oil_slick", "foam"]), severity: new Set(["4"]), answer: new Set<string>() },
    isStrong: true,
    hidesNear: true,
    language: "en",
  };

  test("says everything and is read back whole", () => {
    const hash = writeHash(shared);
    expect(hash).toBe("map=7.25/30.5/114.3&day=2026-05-01&kind=oil_slick.foam&severity=4&strong=1&near=0&lang=en");
    expect(readHash(`#${hash}`, NOW)).toEqual(shared);
  });

  test("with nonsense in it says nothing", () => {
    const nothing = { view: null, day: null, choice: EVERYTHING, isStrong: false, hidesNear: false, language: null };
    expect(readHash("#map=a/b/c&day=<img src=x>&kind=<b>&strong=yes&lang=xx")).toEqual(nothing);
    expect(readHash("#main")).toEqual(nothing);
  });

  test("leads to the nearest place there is", () => {
    expect(readHash("#map=4/99/114").view).toEqual({ zoom: 4, lat: 85, lon: 114 });
    expect(readHash("#map=99/-90/-999").view).toEqual({ zoom: 17, lat: -85, lon: -180 });
    expect(readHash("#map=0/0/999").view).toEqual({ zoom: 2, lat: 0, lon: 180 });
  });

  test("says no day that the calendar or the map has not", () => {
    const dayIn = (day: string): string | null => readHash(`#day=${day}`, NOW).day;
    for (const day of ["2026-13-45", "2026-02-30", "2026-00-10", "2026-05-20", "2026-05-21", "2031-01-01", "2025-05-19", "1066-10-14"]) expect(dayIn(day)).toBeNull();
    expect(dayIn("2025-05-20")).toBe("2025-05-20");
    expect(dayIn("2026-05-19")).toBe("2026-05-19");
  });

  test("keeps of the filters what there is", () => {
    const { choice } = readHash("#kind=foam.nonsense&severity=9&answer=none");
    const values = { kind: ["foam", "oil_slick"], severity: ["1", "2", "3", "4"], answer: ["none"] };
    expect(existing(choice, values)).toEqual({ kind: new Set(["foam"]), severity: new Set(), answer: new Set(["none"]) });
  });
});

describe("filters", () => {
  const index = { zoom: 6, kinds: ["foam", "oil_slick"], answers: ["none", "answered"], tiles: {}, sums: [[114, 30, 0, 4, 0, 2], [114, 30, 1, 4, 1, 3], [114, 30, 1, 2, 1, 5]] as const };

  test("that choose nothing show everything", () => {
    expect(isChosen(EVERYTHING, { kind: "new", severity: "1", answer: "none" })).toBe(true);
  });

  test("count what choosing a value would show beside the others", () => {
    const choice = { ...EVERYTHING, severity: new Set(["4"]) };
    expect(countBy(index, choice, "kind")).toEqual(new Map([["foam", 2], ["oil_slick", 3]]));
    expect(countBy(index, choice, "severity")).toEqual(new Map([["4", 5], ["2", 5]]));
  });
});

describe("names the map has loaded", () => {
  const label = (w: string, o: number, n: string, ne?: string): Label => ({ geometry: { type: "Point", coordinates: [114, 30] }, properties: { w, o, n, ...(ne && { ne }) } });

  test("are found in any language, the largest first, each water once", () => {
    const labels = [label("lake", 3, "东湖", "East Lake"), label("river", 1, "东江"), label("river", 1, "东江"), label("other", 2, "西江")];
    expect(matching(labels, "东").map(({ properties }) => properties.w)).toEqual(["river", "lake"]);
    expect(matching(labels, "EAST-lake").map(({ properties }) => properties.w)).toEqual(["lake"]);
    expect(matching(labels, " ")).toEqual([]);
  });
});

describe("GCJ-02", () => {
  test("moves a place as the server's formula does, and none off the mainland", () => {
    const [lon, lat] = toGcj02(114.3, 30.55);
    expect([lon, lat]).toEqual([expect.closeTo(114.3054339242356, 10), expect.closeTo(30.547565725998712, 10)]);
    for (const [x, y] of [[114.17, 22.3], [121.5, 25.05], [113.54, 22.19], [126.9, 37.5]] as const) {
      expect(isMainland(x, y)).toBe(false);
      expect(toGcj02(x, y)).toEqual([x, y]);
    }
  });

  test("puts a tile of Wuhan together from the four it overlaps, without gap or overlap", () => {
    const pieces = piecesOf(15, 26787, 13489);
    expect(pieces.length).toBe(4);
    const covered = new Set(pieces.map(({ left, top }) => `${left <= 0}${top <= 0}`));
    expect(covered.size).toBe(4);
    for (const { left, top } of pieces) expect(Math.abs(left) < 256 && Math.abs(top) < 256).toBe(true);
    expect(new Set(pieces.map(({ x, left }) => x * 256 - left)).size).toBe(1);
  });

  test("leaves a tile whole where the shift is under a pixel, and abroad", () => {
    expect(piecesOf(5, 26, 13)).toEqual([{ x: 26, y: 13, left: 0, top: 0 }]);
    expect(piecesOf(15, 27944, 12706)).toEqual([{ x: 27944, y: 12706, left: 0, top: 0 }]);
  });
});

test("days are counted as the files count them, in China", () => {
  expect(dayBefore(Date.parse("2026-05-01T17:00:00Z"), 0)).toBe("2026-05-02");
  expect(dayBefore(Date.parse("2026-05-01T15:00:00Z"), 1)).toBe("2026-04-30");
});

test("a tile's names are read with their places, another layer's are not", () => {
  const lake = { type: "Feature" as const, geometry: { type: "Point" as const, coordinates: [116.3, 29.1] }, properties: { w: "poyang", n: "鄱阳湖", ne: "Poyang Lake", o: 1, k: "lake" } };
  const index = new GeoJSONVT({ type: "FeatureCollection", features: [lake] }, { maxZoom: 3, indexMaxZoom: 3, indexMaxPoints: 0 });
  const layer = index.getTile(3, 6, 3);
  if (!layer) throw new Error("no tile");
  const [found, ...more] = labelsOf(fromGeojsonVt({ rivers: layer, labels: layer }, { version: 2, extent: 4096 }), 3, 6, 3);
  expect(more).toEqual([]);
  expect(found?.properties).toEqual(lake.properties);
  const [lon = 0, lat = 0] = (found?.geometry as GeoJSON.Point).coordinates;
  expect([lon, lat]).toEqual([expect.closeTo(116.3, 1), expect.closeTo(29.1, 1)]);
});

test("an archive is known by how it begins", () => {
  const bytes = (text: string): ArrayBuffer => new TextEncoder().encode(text).buffer;
  expect(isArchive(bytes("PMTiles\u0003\u0000"))).toBe(true);
  expect(isArchive(bytes("PMTiles\u0002\u0000"))).toBe(false);
  expect(isArchive(bytes("<html>gone</html>"))).toBe(false);
  expect(isArchive(new ArrayBuffer(0))).toBe(false);
});
