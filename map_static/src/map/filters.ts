/** The sheet of filters: kind, severity, state of the answer, each with how many incidents it would show. */

import { RANKS } from "../levels";
import { group, say } from "../words";
import { countBy, EVERYTHING, FACETS, type Choice, type Facet } from "./choice";
import { remember, type Live } from "./live";

export function openFilters(live: Live, changed: () => void): void {
  const into = document.getElementById("map-filter-choices");
  if (!into) return;
  const choose = (choice: Choice): void => {
    live.choose(choice);
    remember(live);
    count(into, live);
    changed();
  };
  const near = nearBox(live, changed);
  into.replaceChildren(...FACETS.map((facet) => fieldset(live, facet, choose)), near);
  const all = document.getElementById("map-filter-all");
  if (all) all.onclick = () => {
    live.hideNear(false);
    choose(EVERYTHING);
    for (const box of into.querySelectorAll<HTMLInputElement>("input")) box.checked = box.dataset.near !== undefined;
  };
  count(into, live);
}

function fieldset(live: Live, facet: Facet, choose: (choice: Choice) => void): HTMLElement {
  const fields = Object.assign(document.createElement("fieldset"), { className: "map-facet" });
  fields.append(Object.assign(document.createElement("legend"), { textContent: say(live.words, `filter_${facet}`) }));
  for (const [value, words] of valuesOf(live, facet)) {
    const input = Object.assign(document.createElement("input"), { type: "checkbox", checked: live.choice[facet].has(value), value });
    input.addEventListener("change", () => {
      const values = new Set(live.choice[facet]);
      if (input.checked) values.add(value);
      else values.delete(value);
      choose({ ...live.choice, [facet]: values });
    });
    const label = Object.assign(document.createElement("label"), { className: "map-facet-row" });
    const name = Object.assign(document.createElement("span"), { className: facet === "severity" ? `level level-${value}` : "", textContent: words });
    label.append(input, name, Object.assign(document.createElement("span"), { className: "map-facet-count number" }));
    label.dataset.value = value;
    label.dataset.facet = facet;
    fields.append(label);
  }
  return fields;
}

/** Whether waters to which something only comes are drawn: on a map of what is, they may be in the way. */
function nearBox(live: Live, changed: () => void): HTMLElement {
  const fields = Object.assign(document.createElement("fieldset"), { className: "map-facet" });
  const input = Object.assign(document.createElement("input"), { type: "checkbox", checked: !live.hidesNear });
  input.dataset.near = "";
  input.addEventListener("change", () => {
    live.hideNear(!input.checked);
    remember(live);
    changed();
  });
  const label = Object.assign(document.createElement("label"), { className: "map-facet-row" });
  label.append(input, Object.assign(document.createElement("span"), { textContent: say(live.words, "filter_near_shown") }));
  fields.append(Object.assign(document.createElement("legend"), { textContent: say(live.words, "filter_near") }), label);
  return fields;
}

function valuesOf(live: Live, facet: Facet): [string, string][] {
  const { kinds, answers } = live.marks.index;
  const word = (of: string, value: string): [string, string] => [value, group(live.words, of)[value] ?? value];
  if (facet === "severity") return [...RANKS].reverse().map((rank) => word("levels", String(rank)));
  return facet === "kind" ? kinds.map((kind) => word("kinds", kind)) : answers.map((answer) => word("answers", answer));
}

function count(into: HTMLElement, live: Live): void {
  const counts = new Map(FACETS.map((facet) => [facet as string, countBy(live.marks.index, live.choice, facet)]));
  for (const row of into.querySelectorAll<HTMLElement>("[data-facet]")) {
    const number = counts.get(row.dataset.facet ?? "")?.get(row.dataset.value ?? "") ?? 0;
    const shown = row.querySelector(".map-facet-count");
    if (shown) shown.textContent = String(number);
    row.classList.toggle("map-facet-none", number === 0);
  }
}
