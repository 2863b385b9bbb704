import { describe, expect, it } from "vitest";

import { listOf, readColumns } from "../src/history";

function frame(text: string | null): ParentNode {
  return { querySelector: () => (text === null ? null : { textContent: text }) } as unknown as ParentNode;
}

describe("the past of a place", () => {
  it("counts weeks from the Monday's first instant in China", () => {
    const found = readColumns(frame('{"mondays":["2026-05-18"],"levels":[3],"reports":[2]}'));
    expect(found).toEqual({ seconds: [Date.UTC(2026, 4, 17, 16) / 1000], levels: [3], reports: [2] });
  });

  it("draws nothing of columns that do not fit together, or are not there", () => {
    expect(readColumns(frame(null))).toBeNull();
    expect(readColumns(frame('{"mondays":["2026-05-18"],"levels":[],"reports":[2]}'))).toBeNull();
  });

  it("reads lists of words and takes nothing else for one", () => {
    expect(listOf({ levels: ["无", "蓝"] }, "levels")).toEqual(["无", "蓝"]);
    expect(listOf({ levels: "无" }, "levels")).toEqual([]);
  });
});
