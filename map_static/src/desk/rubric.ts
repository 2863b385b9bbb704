/** The rubric, computed while the form is filled in. Its numbers come from the server, which computes it again. */

import { group, type Words } from "../words";

export interface Rubric {
  readonly hazard: Readonly<Record<string, number>>;
  readonly extent: Readonly<Record<string, number>>;
  readonly receptor: Readonly<Record<string, number>>;
  /** What is ticked: the input, the reason it is shown as, its points. */
  readonly flags: readonly (readonly [string, string, number])[];
  /** From how many points on which level, the highest first. */
  readonly levels: readonly (readonly [number, number])[];
  /** What is at least so severe: the input, the kind it counts for (null: any), the level. */
  readonly floors: readonly (readonly [string, string | null, number])[];
}

export interface Inputs {
  readonly kind: string;
  readonly extent: string;
  readonly receptor: string;
  readonly ticked: ReadonlySet<string>;
}

export interface Score {
  readonly points: number;
  readonly reasons: readonly (readonly [string, number])[];
  readonly proposed: number;
}

/** As `score` of `waterwatch/incidents/rules.py`; a test compares what both give. */
export function score(rubric: Rubric, inputs: Inputs): Score {
  const weighed: (readonly [string, number])[] = [
    ["hazard", rubric.hazard[inputs.kind] ?? 0],
    ["extent", rubric.extent[inputs.extent] ?? 0],
    ["receptor", rubric.receptor[inputs.receptor] ?? 0],
    ...rubric.flags.map(([name, reason, points]) => [reason, inputs.ticked.has(name) ? points : 0] as const),
  ];
  const reasons = weighed.filter(([, points]) => points > 0);
  const points = reasons.reduce((sum, [, more]) => sum + more, 0);
  const reached = rubric.levels.find(([least]) => points >= least)?.[1] ?? 1;
  const floors = rubric.floors.filter(([name, kind]) => inputs.ticked.has(name) && (kind === null || kind === inputs.kind));
  return { points, reasons, proposed: Math.max(reached, ...floors.map(([, , level]) => level)) };
}

/** Keep a grading form's proposal in step with what is ticked; the level follows it until somebody chooses their own. */
export function followRubric(form: HTMLFormElement, words: Words): void {
  const rubric = JSON.parse(form.dataset.rubric ?? "{}") as Rubric;
  const parts = partsOf(form);
  if (!parts) return;
  const update = (isTyped: boolean): void => {
    const answer = score(rubric, read(form));
    if (isTyped) {
      parts.points.textContent = String(answer.points);
      parts.proposed.replaceChildren(badge(answer.proposed, words));
      parts.reasons.replaceChildren(...answer.reasons.map(([reason, points]) => line(group(words, "reasons")[reason] ?? reason, points)));
      if (!("chosen" in form.dataset)) choose(form, answer.proposed);
    }
    const isDifferent = levelOf(form) !== answer.proposed;
    parts.departure.hidden = !isDifferent;
    parts.reason.required = isDifferent;
  };
  if (levelOf(form) !== score(rubric, read(form)).proposed) form.dataset.chosen = "";
  form.closest("[data-review]")?.addEventListener("change", (event) => {
    const field = event.target as HTMLInputElement;
    if (field.form !== form) return;
    if (field.name === "severity") form.dataset.chosen = "";
    update(true);
  });
  update(false);
}

interface Parts {
  readonly points: HTMLElement;
  readonly proposed: HTMLElement;
  readonly reasons: HTMLElement;
  readonly departure: HTMLElement;
  readonly reason: HTMLTextAreaElement;
}

function partsOf(form: HTMLFormElement): Parts | null {
  // What decides stands beside the form and belongs to it by its name.
  const review = form.closest("[data-review]") ?? form;
  const find = (selector: string): HTMLElement | null => review.querySelector<HTMLElement>(selector);
  const [points, proposed, reasons, departure] = ["[data-points]", "[data-proposed]", "[data-reasons]", "[data-departure]"].map(find);
  const reason = form.elements.namedItem("departure_reason") as HTMLTextAreaElement | null;
  return points && proposed && reasons && departure && reason ? { points, proposed, reasons, departure, reason } : null;
}

function read(form: HTMLFormElement): Inputs {
  const fields = new FormData(form);
  const said = (name: string): string => String(fields.get(name) ?? "");
  return {
    kind: said("kind"),
    extent: said("extent"),
    receptor: said("receptor"),
    ticked: new Set([...fields].filter(([, value]) => value === "1").map(([name]) => name)),
  };
}

function levelOf(form: HTMLFormElement): number {
  return Number(levels(form)?.value ?? 0);
}

function choose(form: HTMLFormElement, rank: number): void {
  const inputs = levels(form);
  if (inputs) inputs.value = String(rank);
}

function levels(form: HTMLFormElement): RadioNodeList | null {
  const found = form.elements.namedItem("severity");
  return found instanceof RadioNodeList ? found : null;
}

function badge(rank: number, words: Words): HTMLElement {
  return Object.assign(document.createElement("span"), { className: `level level-${rank}`, textContent: group(words, "levels")[String(rank)] ?? "" });
}

function line(words: string, points: number): HTMLElement {
  return Object.assign(document.createElement("li"), { textContent: `${words} +${points}` });
}
