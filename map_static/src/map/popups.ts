/** What pointing at a water or an incident shows. Built as nodes: no text from outside ever becomes markup. */

import { toRank } from "../levels";
import type { IncidentProperties } from "../published";
import { group, say, type Words } from "../words";
import { badge } from "./list";

export function waterPopup(name: string, rank: number, href: string, words: Words): HTMLElement {
  return popup(name, badge(toRank(rank), words), [link(href, say(words, "see_water"))]);
}

export function incidentPopup(incident: IncidentProperties, href: string, words: Words): HTMLElement {
  const since = Object.assign(document.createElement("div"), {
    className: "muted small",
    textContent: say(words, "opened_on", { date: incident.opened_on }),
  });
  const title = group(words, "kinds")[incident.kind] ?? incident.code;
  return popup(title, badge(toRank(incident.severity), words), [since, link(href, say(words, "see_incident"))]);
}

function popup(title: string, level: HTMLElement, rest: readonly HTMLElement[]): HTMLElement {
  const content = Object.assign(document.createElement("div"), { className: "map-popup" });
  content.append(Object.assign(document.createElement("div"), { className: "map-popup-name", textContent: title }), level, ...rest);
  return content;
}

function link(href: string, text: string): HTMLElement {
  return Object.assign(document.createElement("a"), { className: "map-popup-link", href, textContent: text });
}
