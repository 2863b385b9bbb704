/** "The same problem? I saw it too": open incidents near the place, before a second report of them is written. */

import { say, group, type Words } from "../words";

interface Incident {
  readonly code: string;
  readonly kind: string;
  readonly severity: number;
  readonly water: string;
  readonly opened_at: string;
  readonly distance_m: number;
}

const ADDRESS = "/api/v1/incidents/nearby";
const WAIT_MS = 500;

export class Nearby {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private asked: AbortController | null = null;

  constructor(
    private readonly frame: HTMLElement,
    private readonly form: HTMLFormElement,
    private readonly words: Words,
  ) {}

  ask(place: { readonly lon: number; readonly lat: number; readonly datum: string }): void {
    clearTimeout(this.timer);
    this.asked?.abort();
    const query = new URLSearchParams({ lon: place.lon.toFixed(6), lat: place.lat.toFixed(6), datum: place.datum });
    this.timer = setTimeout(() => void this.fetch(query), WAIT_MS);
  }

  clear(): void {
    clearTimeout(this.timer);
    this.asked?.abort();
    this.show([]);
  }

  private async fetch(query: URLSearchParams): Promise<void> {
    const asked = (this.asked = new AbortController());
    try {
      const response = await fetch(`${ADDRESS}?${query.toString()}`, { signal: asked.signal, credentials: "omit", headers: { "Accept-Language": document.documentElement.lang } });
      this.show(response.ok ? ((await response.json()) as Incident[]) : []);
    } catch {
      if (!asked.signal.aborted) this.show([]); // without a network the moderator joins them
    }
  }

  private show(found: readonly Incident[]): void {
    const chosen = this.sameAs().value;
    if (!found.some((one) => one.code === chosen)) this.sameAs().value = "";
    this.frame.hidden = found.length === 0;
    const title = Object.assign(document.createElement("h3"), { textContent: say(this.words, "nearby_title") });
    this.frame.replaceChildren(...(found.length > 0 ? [title, ...found.map((one) => this.card(one))] : []));
  }

  private card(incident: Incident): HTMLElement {
    const kinds = group(this.words, "kinds");
    const card = Object.assign(document.createElement("div"), { className: "nearby" });
    const text = document.createElement("p");
    const level = Object.assign(document.createElement("span"), { className: `level level-${incident.severity}`, textContent: group(this.words, "severities")[String(incident.severity)] ?? "" });
    const line = say(this.words, "nearby_line", { kind: kinds[incident.kind] ?? incident.kind, water: incident.water, metres: incident.distance_m, date: incident.opened_at.slice(0, 10) });
    text.append(level, ` ${line}`);
    const button = Object.assign(document.createElement("button"), { type: "button", className: "button button-block" });
    const paint = (): void => {
      const isChosen = this.sameAs().value === incident.code;
      button.setAttribute("aria-pressed", String(isChosen));
      button.textContent = say(this.words, isChosen ? "nearby_chosen" : "nearby_same");
    };
    button.addEventListener("click", () => {
      const isChosen = this.sameAs().value === incident.code;
      this.sameAs().value = isChosen ? "" : incident.code;
      if (!isChosen) this.chooseKind(incident.kind);
      for (const other of this.frame.querySelectorAll("button")) other.dispatchEvent(new Event("repaint"));
    });
    button.addEventListener("repaint", paint);
    paint();
    card.append(text, button);
    return card;
  }

  /** One tap: what it is is known, so it need not be said again. It stays as it is where the person has said it. */
  private chooseKind(kind: string): void {
    if (this.form.querySelector("input[name=kind]:checked")) return;
    const input = this.form.querySelector<HTMLInputElement>(`input[name=kind][value="${CSS.escape(kind)}"]`);
    if (input) input.checked = true;
  }

  private sameAs(): HTMLInputElement {
    return this.form.elements.namedItem("same_as") as HTMLInputElement;
  }
}
