import { expect, test } from "vitest";

import { untilNext } from "../src/desk/tiles";

const NOW = Date.parse("2026-03-04T12:00:00+00:00");

test("the address is asked for a minute before it ends", () => {
  expect(untilNext("2026-03-04T12:17:00+00:00", NOW)).toBe(16 * 60_000);
});

test("a clock that is wrong, or no time at all, never has it asked for without pause", () => {
  expect(untilNext("2026-03-04T11:00:00+00:00", NOW)).toBe(60_000);
  expect(untilNext("soon", NOW)).toBe(60_000);
});
