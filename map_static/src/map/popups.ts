/** What pointing at a water or an incident shows. Built as nodes: no text from outside ever becomes markup. */

import { toRank, type Rank } from "../levels";
import { nameOf, type IncidentProperties } from "../published";
import { group, say, type Words } from "../words";

export interface PointedWater {
  readonly name: string;
  readonly level: Rank;
  readonly near: Rank;
  readonly href: string;
}

export function waterPopup({ name, level, near, href }: PointedWater, words: Words): HTMLElement {
  const coming = near > level ? [line(say(words, "approaching_here"), "small")] : [];
  return popup(name || say(words, "unnamed"), [badge(level, words), ...coming, link(href, say(words, "see_water"))]);
}

export function incidentPopup(incident: IncidentProperties, language: string, href: string, words: Words): HTMLElement {
  const title = group(words, "kinds")[incident.kind] ?? incident.code;
  const where = nameOf(language, incident.names);
  const answer = group(words, "answers")[incident.answer] ?? "";
  return popup(title, [
    badge(toRank(incident.severity), words),
    ...(where ? [line(where)] : []),
    line([say(words, "opened_on", { date: incident.opened_on }), answer].filter(Boolean).join(" · "), "muted small"),
    link(href, say(words, "see_incident")),
  ]);
}

/** A level as every page shows it: colour, shape, word. */
export function badge(rank: Rank, words: Words): HTMLElement {
  const text = rank === 0 ? say(words, "no_level") : (group(words, "levels")[String(rank)] ?? "");
  return Object.assign(document.createElement("span"), { className: `level level-${rank}`, textContent: text });
}

function popup(title: string, rest: readonly HTMLElement[]): HTMLElement {
  const content = Object.assign(document.createElement("div"), { className: "map-popup" });
  content.append(line(title, "map-popup-name"), ...rest);
  return content;
}

function line(textContent: string, className = ""): HTMLElement {
  return Object.assign(document.createElement("div"), { className, textContent });
}

function link(href: string, text: string): HTMLElement {
  return Object.assign(document.createElement("a"), { className: "map-popup-link", href, textContent: text });
}
