/** Which incidents a viewer wants to see. An empty set means all: a kind that is new tomorrow is not hidden by a link of today. */

import type { IncidentIndex, IncidentProperties } from "../published";

export const FACETS = ["kind", "severity", "answer"] as const;
export type Facet = (typeof FACETS)[number];
export type Choice = Readonly<Record<Facet, ReadonlySet<string>>>;

export const EVERYTHING: Choice = { kind: new Set(), severity: new Set(), answer: new Set() };

export function isEverything(choice: Choice): boolean {
  return FACETS.every((facet) => choice[facet].size === 0);
}

/** The choice without values that do not exist: a link is whatever somebody typed. */
export function existing(choice: Choice, values: Readonly<Record<Facet, readonly string[]>>): Choice {
  const kept = FACETS.map((facet) => [facet, new Set([...choice[facet]].filter((value) => values[facet].includes(value)))] as const);
  return Object.fromEntries(kept) as unknown as Choice;
}

/** Whether one incident, or a row of sums, is among what was chosen. */
export function isChosen(choice: Choice, incident: Readonly<Record<Facet, string>>): boolean {
  return FACETS.every((facet) => choice[facet].size === 0 || choice[facet].has(incident[facet]));
}

export function facetsOf(incident: Pick<IncidentProperties, "kind" | "severity" | "answer">): Record<Facet, string> {
  return { kind: incident.kind, severity: String(incident.severity), answer: incident.answer };
}

/** How many incidents there are of each value, with the other two facets as chosen; what choosing it would show. */
export function countBy(index: IncidentIndex, choice: Choice, facet: Facet): Map<string, number> {
  const others: Choice = { ...choice, [facet]: new Set<string>() };
  const counts = new Map<string, number>();
  for (const [, , kind, severity, answer, count] of index.sums) {
    const row = { kind: index.kinds[kind] ?? "", severity: String(severity), answer: index.answers[answer] ?? "" };
    if (isChosen(others, row)) counts.set(row[facet], (counts.get(row[facet]) ?? 0) + count);
  }
  return counts;
}
