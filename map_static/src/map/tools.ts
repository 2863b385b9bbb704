/** The row of tools above the map. What a tool needs is loaded when somebody reaches for it. */

import type { Shared } from "./hash";
import { remember, type Live } from "./live";
import { isEverything } from "./choice";

type Tool = "filters" | "time" | "share" | "print" | "strong" | "base";

/** Make the buttons work, and bring back what a link says of them. */
export async function connectTools(live: Live, shared: Shared): Promise<void> {
  connectSearch(live);
  strong(live);
  tool("filters")?.addEventListener("click", () => void toggle(live, "filters", async () => (await import("./filters")).openFilters(live, () => showCount(live))));
  tool("time")?.addEventListener("click", () => void toggle(live, "time", async () => (await import("./time")).openTime(live)));
  tool("base")?.addEventListener("click", () => void toggle(live, "base", async () => (await import("./base-tiles")).openBase(live)));
  tool("share")?.addEventListener("click", () => void import("./share").then(({ share }) => share(live)));
  tool("print")?.addEventListener("click", () => void import("./print").then(({ print }) => print(live)));
  // The browser's own printing command comes without a click, and waits for nothing.
  addEventListener("beforeprint", () => void import("./print").then(({ prepare }) => prepare(live)));
  addEventListener("keydown", (event) => event.key === "Escape" && closePanels(live));
  showCount(live);
  if (shared.day) {
    const { openTime } = await import("./time");
    showPanel(live, "time", true);
    openTime(live, shared.day);
  }
}

function tool(name: Tool): HTMLButtonElement | null {
  return document.querySelector<HTMLButtonElement>(`[data-tool="${name}"]`);
}

async function toggle(live: Live, name: Tool, open: () => Promise<void>): Promise<void> {
  const isOpen = tool(name)?.getAttribute("aria-expanded") === "true";
  closePanels(live);
  if (isOpen) {
    showPanel(live, name, false);
    return;
  }
  await open();
  showPanel(live, name, true);
  panel(name)?.querySelector<HTMLElement>("button, input, select")?.focus();
}

function panel(name: Tool): HTMLElement | null {
  return document.getElementById(tool(name)?.getAttribute("aria-controls") ?? "");
}

function showPanel(live: Live, name: Tool, isOpen: boolean): void {
  const found = panel(name);
  if (!found) return;
  found.hidden = !isOpen;
  tool(name)?.setAttribute("aria-expanded", String(isOpen));
  const close = found.querySelector<HTMLElement>("[data-close]");
  if (close) close.onclick = () => {
    closePanels(live);
    tool(name)?.focus();
  };
}

/** While the map shows the past, what says and changes the day stays. */
function closePanels(live: Live): void {
  for (const name of ["filters", "time", "base"] as const) {
    const found = panel(name);
    if (found?.hidden !== false || (name === "time" && live.day !== null)) continue;
    const holds = found.contains(document.activeElement);
    showPanel(live, name, false);
    if (holds) tool(name)?.focus();
  }
}

/** A filter that is on is seen without opening the sheet. */
function showCount(live: Live): void {
  const button = tool("filters");
  button?.classList.toggle("map-tool-on", !isEverything(live.choice) || live.hidesNear);
}

function strong(live: Live): void {
  const button = tool("strong");
  const show = (): void => {
    button?.setAttribute("aria-pressed", String(live.isStrong));
    document.getElementById("map-legend")?.classList.toggle("legend-strong", live.isStrong);
  };
  button?.addEventListener("click", () => {
    live.strengthen(!live.isStrong);
    show();
    remember(live);
  });
  show();
}

/** The search's code comes with the first touch of its field. */
function connectSearch(live: Live): void {
  const input = document.querySelector<HTMLInputElement>("#map-search");
  input?.addEventListener("focus", () => void import("./search").then(({ connect }) => connect(live, input)), { once: true });
}
