import { expect, test } from "vitest";

import { actOf } from "../src/desk/keys";

const press = (key: string, held: Partial<Record<"ctrlKey" | "metaKey" | "altKey", boolean>> = {}) =>
  actOf({ key, ctrlKey: false, metaKey: false, altKey: false, ...held });

test("j and k move, 1 to 4 grade, ? helps, a letter presses what carries it", () => {
  expect(press("j")).toEqual({ kind: "move", by: 1 });
  expect(press("k")).toEqual({ kind: "move", by: -1 });
  expect(press("4")).toEqual({ kind: "severity", rank: 4 });
  expect(press("？")).toEqual({ kind: "help" });
  expect(press("G")).toEqual({ kind: "key", key: "g" });
});

test("keys with a modifier and keys with a name are left to the browser", () => {
  expect(press("k", { ctrlKey: true })).toBeNull();
  expect(press("Tab")).toBeNull();
  expect(press("5")).toEqual({ kind: "key", key: "5" });
});
