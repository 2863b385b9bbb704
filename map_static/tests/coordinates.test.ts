import { describe, expect, test } from "vitest";

import { formatDegrees, parseCoordinate } from "../src/coordinates";

describe("a coordinate as people write it", () => {
  test.each([
    ["114.3055", "lon", 114.3055],
    ["-30.5", "lat", -30.5],
    [" １１４．５ ", "lon", 114.5],
    ["114°18′20″", "lon", 114 + 18 / 60 + 20 / 3600],
    ["E114°18'20\"", "lon", 114 + 18 / 60 + 20 / 3600],
    ["东经114度18分20秒", "lon", 114 + 18 / 60 + 20 / 3600],
    ["30°35.5′N", "lat", 30 + 35.5 / 60],
    ["30 35 34 S", "lat", -(30 + 35 / 60 + 34 / 3600)],
    ["西經 73.9", "lon", -73.9],
  ] as const)("%s is understood", (text, axis, degrees) => {
    expect(parseCoordinate(text, axis)).toBeCloseTo(degrees, 9);
  });

  test.each([
    ["", "lon"],
    ["武汉", "lon"],
    ["181", "lon"],
    ["90.1", "lat"],
    ["30°61′", "lat"],
    ["30.5°20′", "lat"],
    ["N30°E", "lat"],
    ["北纬30", "lon"],
  ] as const)("%s is no such coordinate", (text, axis) => {
    expect(parseCoordinate(text, axis)).toBeNull();
  });

  test("is sent to about ten centimetres", () => {
    expect(formatDegrees(114.30552999)).toBe("114.305530");
  });
});
