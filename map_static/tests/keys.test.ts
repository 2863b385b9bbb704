import { expect, test } from "vitest";

import { keyOf, type Pressed } from "../src/desk/keys";

const press = (key: string, held: Partial<Pressed> = {}) =>
  keyOf({ key, code: "", ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...held });

test("a letter is a letter, however large or wide", () => {
  expect([press("g"), press("G"), press("ｇ"), press("4")]).toEqual(["g", "g", "g", "4"]);
});

test("Chinese punctuation stands for the key it is written with", () => {
  expect([press("？"), press("【"), press("】"), press("、")]).toEqual(["?", "[", "]", "/"]);
});

test("keys with a modifier and keys with a name are left to the browser, but for Escape", () => {
  expect(press("k", { ctrlKey: true })).toBeNull();
  expect(press("Tab")).toBeNull();
  expect(press("Escape")).toBe("escape");
});

test("where an input method takes the key, its place on the keyboard counts", () => {
  const process = (code: string, shiftKey = false) => press("Process", { code, shiftKey });
  expect([process("KeyG"), process("Digit3"), process("Numpad2"), process("BracketLeft")]).toEqual(["g", "3", "2", "["]);
  expect([process("Slash"), process("Slash", true), process("Equal")]).toEqual(["/", "?", "+"]);
  expect(process("CapsLock")).toBeNull();
});
