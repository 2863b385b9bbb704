/** The coloured waters as a list: the same content as the map, for keyboards, readers and devices without WebGL. */

import { worstByWater, type Rank } from "../levels";
import { nameIn, type Published } from "../published";
import { group, say, type Words } from "../words";

export interface ListedWater {
  readonly water: string;
  readonly name: string;
  readonly rank: Rank;
}

/** Waters that carry a level, the most serious first, then by name in the viewer's language. */
export function listedWaters(published: Pick<Published, "waters" | "levels">, language: string): ListedWater[] {
  const waterOf = new Map<number, string>();
  const nameOf = new Map<string, string>();
  for (const { properties } of published.waters.features) {
    waterOf.set(properties.feature_id, properties.water);
    nameOf.set(properties.water, nameIn(language, properties));
  }
  const order = new Intl.Collator(language);
  return [...worstByWater(published.levels, waterOf)]
    .map(([water, rank]) => ({ water, rank, name: nameOf.get(water) ?? water }))
    .sort((a, b) => b.rank - a.rank || order.compare(a.name, b.name));
}

/** Replace the server's list with the one of the published files just read. */
export function renderList(into: HTMLElement, waters: readonly ListedWater[], waterUrl: string, words: Words): void {
  if (waters.length === 0) {
    if (into.querySelector("li")) into.replaceChildren(paragraph(say(words, "list_empty")));
    return; // the server's own empty state is better designed
  }
  const list = Object.assign(document.createElement("ul"), { className: "list" });
  for (const { water, name, rank } of waters) {
    const link = Object.assign(document.createElement("a"), { className: "list-row", href: waterUrl + encodeURIComponent(water) });
    link.append(
      Object.assign(document.createElement("span"), { className: "list-name", textContent: name }),
      badge(rank, words),
    );
    const row = document.createElement("li");
    row.append(link);
    list.append(row);
  }
  into.replaceChildren(list);
}

export function badge(rank: Rank, words: Words): HTMLElement {
  const text = rank === 0 ? say(words, "no_level") : (group(words, "levels")[String(rank)] ?? "");
  return Object.assign(document.createElement("span"), { className: `level level-${rank}`, textContent: text });
}

function paragraph(text: string): HTMLElement {
  return Object.assign(document.createElement("p"), { className: "muted", textContent: text });
}
