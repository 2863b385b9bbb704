/** Waters by name without a server: those whose names the map has loaded, and by the names they are shown by. */

import type { Geometry } from "geojson";
import type { Map as Canvas } from "maplibre-gl";

import { boundsOf } from "../geometry";
import { nameIn, type Published, type WaterProperties } from "../published";
import type { FoundPlace } from "../report/search";
import { largeLabels } from "./large";
import { loaded, partsOf } from "./waters";

export { largeLabels };

const SHOWN = 8;
/** Around a name whose water is not loaded. */
const AROUND_DEG = 0.15;

export interface Label {
  readonly geometry: Geometry;
  readonly properties: WaterProperties & { readonly k?: string };
}

/** Labels whose name in any language contains the words, each water once, the largest first. */
export function matching(labels: readonly Label[], words: string): Label[] {
  const sought = fold(words);
  if (!sought) return [];
  const found = new Map<string, Label>();
  for (const label of labels) {
    const { w, n, nt, ne } = label.properties;
    if (!found.has(w) && [n, nt, ne].some((name) => name && fold(name).includes(sought))) found.set(w, label);
  }
  return [...found.values()].sort((one, other) => (one.properties.o ?? 9) - (other.properties.o ?? 9)).slice(0, SHOWN);
}

/** In what the map has loaded, and among the large waters of the whole country. */
export async function searchKnown(map: Canvas, published: Pick<Published, "manifest" | "base" | "head"> | null, words: string, language: string): Promise<KnownPlace[]> {
  const large = published ? await largeLabels(published) : [];
  return placesOf(map, matching([...(loaded(map, "labels") as unknown as Label[]), ...large], words), language);
}

type KnownPlace = FoundPlace & { readonly water: string };

function placesOf(map: Canvas, labels: readonly Label[], language: string): KnownPlace[] {
  return labels.flatMap(({ geometry, properties }) => {
    const point = boundsOf([geometry]);
    if (!point) return [];
    const around = [point[0] - AROUND_DEG, point[1] - AROUND_DEG, point[2] + AROUND_DEG, point[3] + AROUND_DEG] as const;
    const bbox = partsOf(map, properties.w).bounds ?? around;
    return [{ what: "water" as const, name: nameIn(language, properties), kind: properties.k ?? "", areas: [], bbox, water: properties.w }];
  });
}

function fold(words: string): string {
  return words.normalize("NFKC").toLowerCase().replace(/[\s'·-]/g, "");
}
