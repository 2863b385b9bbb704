import { expect, test } from "vitest";

import { added, between, stepped, written } from "../src/desk/rectangle";

test("two corners make one rectangle whichever way it is drawn, cut to the picture", () => {
  const expected = { left: 0.25, top: 0.5, width: 0.5, height: 0.5 };
  expect(between({ x: 0.25, y: 0.5 }, { x: 0.75, y: 1.4 })).toEqual(expected);
  expect(between({ x: 0.75, y: 1.4 }, { x: 0.25, y: 0.5 })).toEqual(expected);
});

test("a slip of the hand is no rectangle", () => {
  expect(between({ x: 0.5, y: 0.5 }, { x: 0.502, y: 0.9 })).toBeNull();
});

test("arrows move, with Shift they resize, and neither leaves the picture", () => {
  const moved = stepped(added(), "ArrowLeft", false);
  expect(moved).toMatchObject({ left: 0.39, top: 0.4, width: 0.2 });
  expect(stepped(added(), "ArrowDown", true)?.height).toBeCloseTo(0.21);
  const corner = { left: 0, top: 0.8, width: 0.2, height: 0.2 };
  expect(stepped(corner, "ArrowLeft", false)).toEqual(corner);
  expect(stepped(corner, "ArrowDown", true)?.height).toBeCloseTo(0.2);
  expect(stepped({ ...corner, width: 0.01 }, "ArrowLeft", true)?.width).toBe(0.01);
  expect(stepped(corner, "Enter", false)).toBeNull();
});

test("the form is sent fractions of the picture", () => {
  expect(written({ left: 1 / 3, top: 0, width: 0.5, height: 0.25 })).toBe("0.33333,0.00000,0.50000,0.25000");
});
