import { describe, expect, test } from "vitest";

import { better, isEnough, type Fix } from "../src/position";

const fix = (accuracyM: number, at = 0): Fix => ({ lon: 114.3, lat: 30.6, accuracyM, at });

describe("improving the device's position", () => {
  test("the first fix counts until a better one comes", () => {
    const first = fix(1500);
    expect(better(null, first)).toBe(first);
    const second = fix(65);
    expect(better(first, second)).toBe(second);
  });

  test("a worse fix does not replace a better one", () => {
    const best = fix(25);
    expect(better(best, fix(80))).toBe(best);
  });

  test("of two equally sure the newer counts, for the person may have walked", () => {
    const later = fix(25, 9);
    expect(better(fix(25, 1), later)).toBe(later);
  });

  test("stops at 30 m, or ten seconds after the first fix", () => {
    expect(isEnough(fix(30), 0, 1)).toBe(true);
    expect(isEnough(fix(31), 0, 9_999)).toBe(false);
    expect(isEnough(fix(400), 0, 10_000)).toBe(true);
  });
});
