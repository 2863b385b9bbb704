/**
 * "Which lake? Where?": waters and areas by name, as a combobox (ARIA 1.2, list autocomplete with manual selection).
 * Choosing one moves the map and sets no pin: a whole river is not a place.
 */

import type { Bounds } from "../geometry";
import { group, say, type Words } from "../words";

export interface FoundPlace {
  readonly what: "water" | "area";
  readonly name: string;
  /** The public id; areas have none. */
  readonly water?: string | null;
  readonly kind: string;
  readonly areas: readonly string[];
  readonly bbox: Bounds;
}

export interface Guide {
  /** The place that is set already, to offer the nearest of namesakes first. */
  near(): { readonly lon: number; readonly lat: number } | null;
  /** What the phone itself knows by that name, for when there is no network. */
  known(words: string): Promise<readonly FoundPlace[]>;
  /** Move the map there. False where no map can be shown. */
  go(found: FoundPlace): Promise<boolean>;
}

const ADDRESS = "/api/v1/places/search";
const WAIT_MS = 300;
/** A box wider or higher than this shows a whole river, in which nobody finds a bank. */
const LONG_DEG = 2;

export class PlaceSearch {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private asked: AbortController | null = null;
  private found: readonly FoundPlace[] = [];
  private active = -1;

  constructor(
    private readonly input: HTMLInputElement,
    private readonly list: HTMLElement,
    private readonly status: HTMLElement,
    private readonly words: Words,
    private readonly guide: Guide,
  ) {
    // An input method's letters are no question yet.
    input.addEventListener("input", (event) => (event as InputEvent).isComposing || this.ask());
    input.addEventListener("compositionend", () => this.ask());
    input.addEventListener("keydown", (event) => this.press(event));
    input.addEventListener("blur", () => this.close());
    // The field keeps the focus while a finger is on the list.
    list.addEventListener("pointerdown", (event) => event.preventDefault());
    list.addEventListener("click", (event) => {
      const option = (event.target as Element).closest<HTMLElement>("[role=option]");
      if (option) void this.choose(Number(option.dataset.nth));
    });
  }

  private ask(): void {
    clearTimeout(this.timer);
    this.asked?.abort();
    this.tell("");
    if (this.input.value.trim() === "") {
      this.show([]);
      return;
    }
    this.timer = setTimeout(() => void this.fetch(this.input.value.trim()), WAIT_MS);
  }

  private async fetch(words: string): Promise<void> {
    const asked = (this.asked = new AbortController());
    this.tell("search_asking");
    try {
      if (!navigator.onLine) throw new Error("offline");
      const near = this.guide.near();
      const query = new URLSearchParams({ q: words, ...(near && { lon: near.lon.toFixed(4), lat: near.lat.toFixed(4) }) });
      const response = await fetch(`${ADDRESS}?${query.toString()}`, { signal: asked.signal, credentials: "omit", headers: { "Accept-Language": document.documentElement.lang } });
      if (!response.ok) throw new Error(String(response.status));
      this.show((await response.json()) as FoundPlace[]);
      this.tell(this.found.length > 0 ? "search_found" : "search_none", { count: this.found.length });
    } catch {
      if (asked.signal.aborted) return;
      const known = await this.guide.known(words);
      if (asked.signal.aborted) return;
      this.show(known);
      const key = navigator.onLine ? "search_failed" : "search_offline";
      this.tell(known.length === 0 && say(this.words, `${key}_none`) ? `${key}_none` : key);
    }
  }

  private show(found: readonly FoundPlace[]): void {
    this.found = found;
    this.list.replaceChildren(...found.map((one, nth) => this.option(one, nth)));
    this.list.hidden = found.length === 0;
    this.input.setAttribute("aria-expanded", String(found.length > 0));
    this.activate(-1);
    // The keyboard of a phone covers the lower half: what was found is shown above it.
    if (found.length > 0 && matchMedia("(pointer: coarse)").matches) this.input.closest(".place-search")?.scrollIntoView({ block: "start" });
  }

  private option(found: FoundPlace, nth: number): HTMLElement {
    const option = Object.assign(document.createElement("li"), { id: `place-found-${nth}`, className: "place-option" });
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", "false");
    option.dataset.nth = String(nth);
    const kind = group(this.words, "place_kinds")[found.kind] ?? "";
    const where = found.areas.join(say(this.words, "between"));
    const note = [kind, where].filter(Boolean).join(" · ");
    option.append(Object.assign(document.createElement("span"), { textContent: found.name }), " ");
    option.append(Object.assign(document.createElement("span"), { className: "place-option-note", textContent: note }));
    return option;
  }

  private press(event: KeyboardEvent): void {
    if (event.isComposing) return;
    const last = this.found.length - 1;
    if (event.key === "Enter") {
      event.preventDefault(); // it would send the report
      if (!this.list.hidden) void this.choose(Math.max(this.active, 0));
    } else if (event.key === "Escape" && !this.list.hidden) {
      event.preventDefault();
      this.close();
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && last >= 0) {
      event.preventDefault();
      this.list.hidden = false;
      this.input.setAttribute("aria-expanded", "true");
      const next = event.key === "ArrowDown" ? this.active + 1 : this.active - 1;
      this.activate(next > last ? 0 : next < 0 ? last : next);
    }
  }

  private activate(nth: number): void {
    this.active = nth;
    for (const [index, option] of [...this.list.children].entries()) option.setAttribute("aria-selected", String(index === nth));
    const option = this.list.children[nth];
    if (option) this.input.setAttribute("aria-activedescendant", option.id);
    else this.input.removeAttribute("aria-activedescendant");
    option?.scrollIntoView({ block: "nearest" });
  }

  private close(): void {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.activate(-1);
  }

  private async choose(nth: number): Promise<void> {
    const found = this.found[nth];
    if (!found) return;
    this.input.value = found.name;
    this.close();
    this.input.blur(); // the keyboard of a phone would cover the map
    const [west, south, east, north] = found.bbox;
    const isLong = found.what === "water" && Math.max(east - west, north - south) > LONG_DEG;
    const key = (await this.guide.go(found)) ? (isLong ? "search_long" : "search_moved") : "search_no_map";
    this.tell(key, { name: found.name });
  }

  private tell(key: string, values: Readonly<Record<string, string | number>> = {}): void {
    this.status.textContent = key ? say(this.words, key, values) : "";
  }
}
