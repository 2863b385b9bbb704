/** Maps of others beneath ours, where the operator has named some (`WATERWATCH_BASE_TILES`). Nothing is asked of them before somebody chooses one. */

import { say } from "../words";
import type { Live } from "./live";
import { LOWEST_WATER } from "./style";

const BASE = "base";

export interface BaseTiles {
  readonly names: Readonly<Record<string, string>>;
  readonly url: string;
  readonly type: "raster" | "vector";
  readonly datum: "wgs84" | "gcj02";
  readonly attribution: string;
  readonly maxzoom: number;
  /** Of a vector source: the layers whose lines are drawn. */
  readonly layers: readonly string[];
}

/** Fill the layer switcher with what the page names. */
export function openBase(live: Live): void {
  const into = document.getElementById("map-base-choices");
  if (!into || into.childElementCount > 0) return;
  const sources = JSON.parse(live.frame.dataset.baseTiles ?? "[]") as BaseTiles[];
  into.append(row(say(live.words, "base_own"), true, () => void lay(live, null)));
  for (const source of sources) {
    const name = source.names[live.language] ?? source.names["zh-Hans"] ?? Object.values(source.names)[0] ?? "";
    into.append(row(name, false, () => void lay(live, source)));
  }
}

function row(name: string, checked: boolean, choose: () => void): HTMLElement {
  const label = Object.assign(document.createElement("label"), { className: "map-facet-row" });
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "map-base", checked });
  input.addEventListener("change", choose);
  label.append(input, Object.assign(document.createElement("span"), { textContent: name }));
  return label;
}

async function lay(live: Live, source: BaseTiles | null): Promise<void> {
  const { map } = live;
  for (const { id } of map.getStyle().layers.filter((layer) => layer.id.startsWith(`${BASE}-`))) map.removeLayer(id);
  if (map.getSource(BASE)) map.removeSource(BASE);
  // A ground that is drawn in full shows through quiet waters, and names its own places.
  map.setPaintProperty("lakes", "fill-opacity", ["case", [">", ["coalesce", ["feature-state", "level"], 0], 0], 0.82, source ? 0.2 : 1]);
  for (const id of ["places", "provinces", "names"]) map.setLayoutProperty(id, "visibility", source ? "none" : "visible");
  attribute(live, source?.attribution ?? "");
  if (!source) return;
  if (source.type === "raster") {
    // The mainland's outline is needed for these alone.
    const tiles = source.datum === "gcj02" ? (await import("./shifted-tiles")).shifted(source.url) : source.url;
    if (map.getSource(BASE)) return; // chosen again meanwhile
    map.addSource(BASE, { type: "raster", tiles: [tiles], tileSize: 256, maxzoom: source.maxzoom });
    map.addLayer({ id: `${BASE}-raster`, type: "raster", source: BASE, paint: { "raster-saturation": -0.6, "raster-opacity": 0.8 } }, LOWEST_WATER);
    return;
  }
  map.addSource(BASE, { type: "vector", tiles: [source.url], maxzoom: source.maxzoom });
  for (const name of source.layers) {
    map.addLayer({ id: `${BASE}-${name}`, type: "line", source: BASE, "source-layer": name, paint: { "line-color": "#8a8f8c", "line-width": 0.8, "line-opacity": 0.6 } }, LOWEST_WATER);
  }
}

function attribute(live: Live, attribution: string): void {
  const line = live.frame.querySelector(".map-attribution") ?? live.frame.appendChild(Object.assign(document.createElement("p"), { className: "map-attribution" }));
  line.textContent = attribution;
}
