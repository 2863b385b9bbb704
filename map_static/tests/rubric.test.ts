import { expect, test } from "vitest";

import { score, type Rubric } from "../src/desk/rubric";
import written from "./rubric-cases.json";

test("the browser's rubric answers what the server's does", () => {
  const rubric = written.rubric as unknown as Rubric;
  const answers = written.cases.map(({ given }) => score(rubric, { ...given, ticked: new Set(given.ticked) }));
  expect(answers).toEqual(written.cases.map(({ points, reasons, proposed }) => ({ points, reasons, proposed })));
  expect(new Set(answers.map(({ proposed }) => proposed))).toEqual(new Set([1, 2, 3, 4]));
});
