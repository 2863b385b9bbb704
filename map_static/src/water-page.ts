/** The pages of places: the past as a chart, beside the table that holds the same numbers; and sharing. */

import "uplot/dist/uPlot.min.css";

import type uPlot from "uplot";

import { listOf, readColumns, type Columns } from "./history";
import { readWords, say, type Words } from "./words";

const HEIGHT_PX = 220;
const WEEK_S = 7 * 86_400;

async function draw(frame: HTMLElement): Promise<void> {
  const columns = readColumns(frame);
  if (!columns) return;
  const { default: UPlot } = await import("uplot");
  const words = readWords(frame);
  let chart = new UPlot(options(UPlot, frame, columns, words), dataOf(columns), frame);
  const again = (): void => {
    chart.destroy();
    chart = new UPlot(options(UPlot, frame, columns, words), dataOf(columns), frame);
  };
  // Colours are read from the page once: another scheme wants another drawing.
  matchMedia("(prefers-color-scheme: dark)").addEventListener?.("change", again);
  new ResizeObserver(() => chart.setSize({ width: frame.clientWidth, height: HEIGHT_PX })).observe(frame);
  frame.dataset.ready = "yes";
}

function dataOf(columns: Columns): uPlot.AlignedData {
  return [columns.seconds, columns.reports, columns.levels]; // the line over the bars
}

function options(UPlot: typeof uPlot, frame: HTMLElement, columns: Columns, words: Words): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  const levels = listOf(words, "levels");
  const most = Math.max(4, ...columns.reports);
  const axis = { stroke: colour("--ink-soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  const bars = UPlot.paths.bars?.({ size: [0.6, 12], align: 1 });
  const stepped = UPlot.paths.stepped?.({ align: 1 });
  return {
    width: frame.clientWidth,
    height: HEIGHT_PX,
    legend: { show: false },
    cursor: { show: false },
    tzDate: (seconds) => UPlot.tzDate(new Date(seconds * 1000), "Asia/Shanghai"),
    scales: {
      x: { range: (_chart, low, high) => [low, high + WEEK_S] },
      level: { range: [0, 4.4] },
      reports: { range: [0, most * 1.1] },
    },
    axes: [
      { ...axis, values: (_chart, at) => at.map(monthOf), space: 72, size: 30 },
      { ...axis, scale: "level", splits: [0, 1, 2, 3, 4], values: (_chart, at) => at.map((level) => levels[level] ?? ""), size: 64, label: say(words, "level"), labelSize: 18 },
      { ...axis, scale: "reports", side: 1, grid: { show: false }, values: (_chart, at) => at.map((count) => (Number.isInteger(count) ? String(count) : "")), size: 40, label: say(words, "reports"), labelSize: 18 },
    ],
    series: [
      {},
      { scale: "reports", label: say(words, "reports"), stroke: colour("--line-strong"), fill: colour("--wash"), width: 1, points: { show: false }, ...(bars ? { paths: bars } : {}) },
      { scale: "level", label: say(words, "level"), stroke: colour("--water-deep"), width: 3, points: { show: false }, ...(stepped ? { paths: stepped } : {}) },
    ],
  };
}

function monthOf(seconds: number): string {
  const at = new Date((seconds + 8 * 3600) * 1000);
  return `${at.getUTCFullYear()}-${String(at.getUTCMonth() + 1).padStart(2, "0")}`;
}

async function share(button: HTMLButtonElement): Promise<void> {
  const { title = "", url = "", done = "" } = button.dataset;
  if (typeof navigator.share === "function") {
    await navigator.share({ title, url }).catch(() => undefined); // somebody who changed their mind is no fault
    return;
  }
  await navigator.clipboard.writeText(url);
  button.textContent = done;
}

for (const frame of document.querySelectorAll<HTMLElement>("[data-history]")) void draw(frame);
for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-share]")) {
  button.hidden = typeof navigator.share !== "function" && !navigator.clipboard;
  button.addEventListener("click", () => void share(button));
}
for (const sample of document.querySelectorAll<HTMLTextAreaElement>(".code-sample")) {
  sample.addEventListener("focus", () => sample.select());
}
