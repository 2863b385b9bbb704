/**
 * What a grade would warn below: asked anew while the form is filled in, told in a line, a table and on the map.
 *
 * It stands beside the grading and never in its way: a failure is told and nothing else.
 */

import { drawBelow, lookBelow } from "./map";

const QUIET_MS = 300;
/** Fields of the form that change what is warned. */
const ASKED = new Set(["kind", "severity", "water_feature_id", "join_incident_id", "downstream", "downstream_limit_km"]);

/** Panels that follow their form already, and how each asks again: a report may come back onto the screen. */
const following = new WeakMap<HTMLElement, () => void>();
const answering = new WeakSet<HTMLFormElement>();

interface Answer {
  readonly html: string;
  readonly line: string;
  readonly warns: boolean;
  readonly drawn: GeoJSON.FeatureCollection;
}

/** The address that asks for the form as it is. Exported for its test. */
export function addressOf(from: string, fields: Iterable<readonly [string, FormDataEntryValue]>): string {
  const query = new URLSearchParams({ answer: "json" });
  for (const [name, value] of fields) if (ASKED.has(name) && typeof value === "string" && value !== "") query.set(name, value);
  return `${from}?${query.toString()}`;
}

/** Keep a panel in step with its form. */
export function followBelow(panel: HTMLElement): void {
  const again = following.get(panel);
  if (again) {
    again();
    return;
  }
  const form = document.getElementById(panel.dataset.downstream ?? "");
  const review: ParentNode | null = form?.closest("[data-review]") ?? form;
  if (!(form instanceof HTMLFormElement) || !review) return;
  let asking: AbortController | null = null;
  let timer = 0;
  let last = "";
  const ask = async (): Promise<void> => {
    // Of a form that is folded away nothing is chosen yet: what holds now is shown.
    const isFolded = "present" in panel.dataset && form.closest("details")?.open === false;
    const fields = isFolded ? new URLSearchParams(panel.dataset.present) : new FormData(form);
    const address = addressOf(panel.dataset.from ?? "", fields);
    if (address === last || !panel.isConnected) return;
    last = address;
    asking?.abort();
    asking = new AbortController();
    try {
      const answer = await fetch(address, { signal: asking.signal, headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(String(answer.status));
      show(panel, (await answer.json()) as Answer);
    } catch (error) {
      if ((error as Error).name === "AbortError") return;
      last = "";
      showLine(panel, panel.dataset.failed ?? "");
    }
  };
  const later = (event: Event): void => {
    const field = event.target as HTMLInputElement;
    if (field.form !== form || !ASKED.has(field.name)) return;
    clearTimeout(timer);
    timer = window.setTimeout(() => void ask(), QUIET_MS);
  };
  (review as HTMLElement).addEventListener("change", later);
  (review as HTMLElement).addEventListener("input", later);
  form.closest("details")?.addEventListener("toggle", () => void ask());
  panel.querySelector("[data-below-fit]")?.addEventListener("click", () => lookBelow());
  following.set(panel, () => {
    last = "";
    void ask();
  });
  void ask();
}

/** The fields that say how far and why are there when they are needed. */
export function followRuling(part: ParentNode): void {
  const boxes = Array.from(part.querySelectorAll<HTMLElement>("[data-ruling]"));
  const inputs = Array.from(part.querySelectorAll<HTMLInputElement>('input[name="downstream"]'));
  const update = (): void => {
    const chosen = inputs.find((one) => one.checked)?.value ?? "";
    for (const box of boxes) box.hidden = !(box.dataset.ruling ?? "").split(" ").includes(chosen);
  };
  for (const input of inputs) input.addEventListener("change", update);
  update();
}

/** Answer whether it came without leaving the page: what is typed in the other forms stays. */
export function answerArrivals(part: ParentNode): void {
  for (const form of part.querySelectorAll<HTMLFormElement>("form[data-arrival]")) {
    if (answering.has(form)) continue;
    answering.add(form);
    form.addEventListener("submit", (event) => {
      const chosen = event.submitter as HTMLButtonElement | null;
      if (!chosen) return;
      event.preventDefault();
      void send(form, chosen);
    });
  }
}

async function send(form: HTMLFormElement, chosen: HTMLButtonElement): Promise<void> {
  const body = new FormData(form);
  body.set(chosen.name, chosen.value);
  body.set("answer", "json");
  const said = form.querySelector<HTMLElement>("[data-arrival-said]");
  try {
    const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    const { said: words } = (await answer.json()) as { said: string };
    for (const button of form.querySelectorAll<HTMLButtonElement>("button[name=outcome]")) button.setAttribute("aria-pressed", String(button === chosen));
    if (said) said.textContent = words;
  } catch {
    if (said) said.textContent = form.dataset.failed ?? "";
  }
}

function show(panel: HTMLElement, answer: Answer): void {
  if (!panel.isConnected) return; // the next report is on the screen already
  showLine(panel, answer.line);
  const page = new DOMParser().parseFromString(answer.html, "text/html");
  panel.querySelector("[data-below]")?.replaceChildren(...Array.from(page.body.childNodes, (node) => document.adoptNode(node)));
  const fit = panel.querySelector<HTMLElement>("[data-below-fit]");
  if (fit) fit.hidden = !answer.warns;
  drawBelow(answer.drawn);
}

function showLine(panel: HTMLElement, words: string): void {
  const line = panel.querySelector("[data-below-line]");
  if (line) line.textContent = words;
}
