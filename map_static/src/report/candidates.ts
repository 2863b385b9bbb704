/** "Is it the Yangtze?": the nearest waters by name, as radio buttons. Never required. */

import { say, type Words } from "../words";

export interface Candidate {
  readonly water_feature_id: string;
  readonly name: string;
  readonly distance_m: number;
  readonly lon: number;
  readonly lat: number;
}

const WAIT_MS = 400;

/** Ask anew whenever the place changes; only the last question's answer is shown. */
export class Candidates {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private asked: AbortController | null = null;

  constructor(
    private readonly fieldset: HTMLFieldSetElement,
    private readonly address: string,
    private readonly words: Words,
    private readonly onFound: (nearest: Candidate) => void = () => undefined,
  ) {}

  ask(place: { readonly lon: number; readonly lat: number; readonly datum: string; readonly accuracyM: number | null }): void {
    clearTimeout(this.timer);
    this.asked?.abort();
    const query = new URLSearchParams({ lon: place.lon.toFixed(6), lat: place.lat.toFixed(6), datum: place.datum });
    if (place.accuracyM !== null) query.set("accuracy_m", String(Math.round(place.accuracyM)));
    if (!navigator.onLine) {
      delete this.fieldset.dataset.asking;
      this.tell("nearest_offline");
      return;
    }
    this.fieldset.dataset.asking = "yes";
    if (this.fieldset.hidden) this.tell("nearest_asking");
    this.timer = setTimeout(() => void this.fetch(query), WAIT_MS);
  }

  clear(): void {
    clearTimeout(this.timer);
    this.asked?.abort();
    this.fieldset.hidden = true;
    this.fieldset.replaceChildren();
  }

  private async fetch(query: URLSearchParams): Promise<void> {
    const asked = (this.asked = new AbortController());
    try {
      const response = await fetch(`${this.address}?${query.toString()}`, { signal: asked.signal, headers: { Accept: "application/json" } });
      if (!response.ok) throw new Error(String(response.status));
      const found = (await response.json()) as Candidate[];
      if (found.length > 0) this.offer(found);
      else this.tell("nearest_none");
    } catch {
      if (!asked.signal.aborted) this.tell(navigator.onLine ? "nearest_failed" : "nearest_offline");
    }
    if (!asked.signal.aborted) delete this.fieldset.dataset.asking;
  }

  private offer(found: readonly Candidate[]): void {
    const first = found[0] as Candidate;
    const legend = document.createElement("legend");
    legend.textContent = say(this.words, found.length === 1 ? "nearest_question" : "nearest_which", { name: first.name });
    // Nothing is chosen beforehand: a wrong river is worse than no answer. An earlier answer stays while it is offered.
    const chosen = this.fieldset.querySelector<HTMLInputElement>("input:checked")?.value;
    const choices = Object.assign(document.createElement("div"), { className: "choices" });
    choices.append(
      ...found.map((one) => this.choice(one.water_feature_id, one.name, this.away(one.distance_m), one.water_feature_id === chosen)),
      this.choice("", say(this.words, "nearest_unsure"), "", false),
    );
    this.fieldset.replaceChildren(legend, choices);
    this.fieldset.hidden = false;
    this.onFound(first);
  }

  private choice(value: string, name: string, note: string, checked: boolean): HTMLElement {
    const label = Object.assign(document.createElement("label"), { className: "choice" });
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "water_feature_id", value, checked });
    label.append(input, Object.assign(document.createElement("span"), { textContent: name }));
    if (note) label.append(Object.assign(document.createElement("span"), { className: "choice-note number", textContent: note }));
    return label;
  }

  private away(metres: number): string {
    return metres < 1000
      ? say(this.words, "metres_away", { metres: Math.round(metres) })
      : say(this.words, "kilometres_away", { kilometres: (metres / 1000).toFixed(1) });
  }

  private tell(key: string): void {
    this.fieldset.replaceChildren(Object.assign(document.createElement("p"), { className: "field-hint", textContent: say(this.words, key) }));
    this.fieldset.hidden = false;
  }
}
