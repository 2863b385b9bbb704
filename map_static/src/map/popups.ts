/** What pointing at a water or an incident shows. Built as nodes: no text from outside ever becomes markup. */

import type { Expected } from "../expected";
import { toRank, type Rank } from "../levels";
import { nameOf, type IncidentProperties } from "../published";
import { group, say, type Words } from "../words";
import { arrivalWords, kmWords } from "./windows";

/** More warnings of one water are on its page. */
const EXPECTED_SHOWN = 3;

export interface PointedWater {
  readonly name: string;
  readonly level: Rank;
  readonly near: Rank;
  readonly href: string;
  readonly expected: readonly Expected[];
}

/** `incidentHref`: the page of an incident by its code. `now` in milliseconds. */
export function waterPopup({ name, level, near, href, expected }: PointedWater, words: Words, language: string, incidentHref: (code: string) => string, now = Date.now()): HTMLElement {
  const isQuiet = level === 0 && near > 0; // "no warning" beside a warning would be read alone
  return popup(name || say(words, "unnamed"), [
    ...(isQuiet ? [] : [badge(level, words)]),
    ...(near > 0 ? [coming(near, expected, words, language, incidentHref, now)] : []),
    link(href, say(words, "see_water")),
  ]);
}

/** What comes down the river: from which incident, how far, when; and that it is reckoned. */
function coming(near: Rank, expected: readonly Expected[], words: Words, language: string, incidentHref: (code: string) => string, now: number): HTMLElement {
  const part = Object.assign(document.createElement("div"), { className: "map-coming" });
  part.append(nearBadge(near, words));
  if (expected.length === 0) part.append(line(say(words, "approaching_here"), "small"));
  for (const one of expected.slice(0, EXPECTED_SHOWN)) {
    const kind = group(words, "kinds")[one.kind] ?? one.code;
    part.append(line(arrivalWords(one, words, language, now), "map-coming-when"));
    if (one.isLake) part.append(line(say(words, one.isDammed ? "into_reservoir" : "into_lake"), "small"));
    part.append(link(incidentHref(one.code), say(words, "from_incident", { kind, km: kmWords(one.km) })));
  }
  if (expected.length > EXPECTED_SHOWN) part.append(line(say(words, "more_expected", { count: expected.length - EXPECTED_SHOWN }), "small"));
  part.append(line(say(words, "reckoned"), "muted small"));
  return part;
}

/** What is expected, as hatching and as words. */
export function nearBadge(rank: Rank, words: Words): HTMLElement {
  const level = group(words, "levels")[String(rank)] ?? "";
  return Object.assign(document.createElement("span"), { className: `level near near-${rank}`, textContent: [say(words, "near"), level].filter(Boolean).join(" · ") });
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

/** What a popup's edge keeps from the map's. */
const MARGIN_PX = 8;

type Sides = Pick<DOMRectReadOnly, "left" | "right" | "top" | "bottom">;

/** How far a map is to be moved so that all of a popup is on it; of one that does not fit, its beginning. */
export function overhang(popup: Sides, map: Sides): [right: number, down: number] {
  const by = (from: number, to: number, first: number, last: number): number => {
    const [before, after] = [from - MARGIN_PX - first, to + MARGIN_PX - last];
    return before < 0 ? before : Math.max(0, Math.min(after, before));
  };
  return [by(popup.left, popup.right, map.left, map.right), by(popup.top, popup.bottom, map.top, map.bottom)];
}
