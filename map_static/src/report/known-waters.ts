/** The waters of the published map by name, without a network: the large ones alone, and by the names they are shown by. */

import { boundsOf } from "../geometry";
import { nameIn, type WaterFeature, type Waters } from "../published";
import type { FoundPlace } from "./search";

const SHOWN = 8;

/** Waters whose name in any language contains the words, the largest first. */
export function searchKnown(waters: Waters, words: string, language: string): FoundPlace[] {
  const sought = fold(words);
  if (!sought) return [];
  const reaches = new Map<string, WaterFeature[]>();
  for (const feature of waters.features) {
    const { water, name_zh_hans, name_zh_hant, name_en } = feature.properties;
    if (![name_zh_hans, name_zh_hant, name_en].some((name) => name && fold(name).includes(sought))) continue;
    const known = reaches.get(water);
    if (known) known.push(feature);
    else reaches.set(water, [feature]);
  }
  const best = [...reaches.values()].sort(([one], [other]) => rankOf(one) - rankOf(other)).slice(0, SHOWN);
  return best.flatMap((features) => {
    const [first] = features;
    const bbox = boundsOf(features);
    if (!first || !bbox) return [];
    return [{ what: "water" as const, name: nameIn(language, first.properties), kind: first.properties.kind, areas: [], bbox }];
  });
}

function rankOf(feature: WaterFeature | undefined): number {
  return feature?.properties.rank ?? Infinity;
}

function fold(words: string): string {
  return words.normalize("NFKC").toLowerCase().replace(/[\s'·-]/g, "");
}
