/** Chosen photos: checked, previewed, removable; read for evidence and made smaller while the person goes on. */

import type { Evidence, KeptPhoto } from "../outbox/store";
import { say, type Words } from "../words";
import { readEvidence } from "./evidence";
import { shrink } from "./shrink";

export interface PhotoLimits {
  readonly maxBytes: number;
  readonly maxCount: number;
}

export type PhotoFault = "photo_too_large" | "photo_not_image" | "photo_empty" | "photo_too_many";

export interface Sized {
  readonly name: string;
  readonly size: number;
  readonly type: string;
}

/** Some phones give HEIC no type at all, so an empty type passes; the server looks at the bytes. */
const NAMES_OF_PICTURES = /\.(jpe?g|png|webp|heic|heif|avif|gif|tiff?|bmp|dng)$/i;

/** Why a file is not taken, or null. `already` counts the photos taken before it. */
export function faultOf(file: Sized, already: number, limits: PhotoLimits): PhotoFault | null {
  if (file.type ? !file.type.startsWith("image/") : !NAMES_OF_PICTURES.test(file.name)) return "photo_not_image";
  if (file.size === 0) return "photo_empty";
  if (file.size > limits.maxBytes) return "photo_too_large";
  return already >= limits.maxCount ? "photo_too_many" : null;
}

interface Chosen {
  readonly name: string;
  readonly original: Blob;
  readonly modifiedAt: number;
  readonly ready: Promise<{ readonly blob: Blob; readonly evidence: Evidence | null }>;
}

export class PhotoTray {
  private chosen: Chosen[] = [];
  /** The photo being prepared: one after the other, because six decoded at once are more than an old phone has. */
  private line: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly list: HTMLElement,
    private readonly status: HTMLElement,
    private readonly limits: PhotoLimits,
    private readonly words: Words,
  ) {}

  get count(): number {
    return this.chosen.length;
  }

  /** The photos as they are kept and sent. */
  async photos(): Promise<KeptPhoto[]> {
    return Promise.all(this.chosen.map(async (one) => ({ name: one.name, ...(await one.ready), uploadUrl: null, isUploaded: false })));
  }

  /** Show photos that were kept before. */
  restore(photos: readonly KeptPhoto[]): void {
    this.chosen = photos.map(({ name, blob, evidence }) => ({ name, original: blob, modifiedAt: 0, ready: Promise.resolve({ blob, evidence }) }));
    this.render([]);
  }

  /** Take what an input holds and empty it, so that the same file may be chosen again after removal. */
  takeFrom(input: HTMLInputElement): void {
    const faults: string[] = [];
    for (const file of Array.from(input.files ?? [])) {
      if (this.chosen.some((known) => known.name === file.name && known.original.size === file.size && known.modifiedAt === file.lastModified)) continue;
      const fault = faultOf(file, this.chosen.length, this.limits);
      if (fault) faults.push(say(this.words, fault, { name: file.name }));
      else this.chosen.push({ name: file.name, original: file, modifiedAt: file.lastModified, ready: this.prepare(file) });
    }
    input.value = "";
    this.render([...new Set(faults)]);
  }

  private render(faults: readonly string[]): void {
    for (const image of this.list.querySelectorAll("img")) URL.revokeObjectURL(image.src);
    this.list.replaceChildren(...this.chosen.map((one, index) => this.row(one, index)));
    const lines = faults.map((text) => Object.assign(document.createElement("p"), { className: "field-error", textContent: text }));
    const count = Object.assign(document.createElement("p"), {
      className: "small muted",
      textContent: this.chosen.length > 0 ? say(this.words, "photo_count", { count: this.chosen.length }) : "",
    });
    this.status.replaceChildren(...lines, count);
  }

  private row(one: Chosen, index: number): HTMLElement {
    const row = Object.assign(document.createElement("li"), { className: "photo-item" });
    const image = document.createElement("img");
    image.alt = say(this.words, "photo_alt", { number: index + 1 });
    const blind = (words: string): HTMLElement => Object.assign(document.createElement("span"), { className: "photo-blind", textContent: say(this.words, words) });
    // HEIC and its like have no preview in most browsers.
    image.onerror = () => image.replaceWith(blind("photo_no_preview"));
    const waiting = blind("photo_preparing");
    // The smaller picture is shown, never the original: six of those would fill an old phone's memory.
    void one.ready.then(({ blob }) => {
      if (!waiting.isConnected) return;
      image.src = URL.createObjectURL(blob);
      waiting.replaceWith(image);
    });
    const remove = Object.assign(document.createElement("button"), { type: "button", className: "photo-remove", textContent: "×" });
    remove.setAttribute("aria-label", say(this.words, "photo_remove", { number: index + 1 }));
    remove.addEventListener("click", () => {
      this.chosen.splice(index, 1);
      this.render([]);
      (this.list.querySelector<HTMLElement>(".photo-remove") ?? document.getElementById("photo"))?.focus();
    });
    row.append(waiting, remove);
    return row;
  }

  private prepare(file: File): Promise<{ blob: Blob; evidence: Evidence | null }> {
    const ready = this.line.then(async () => {
      const evidence = await readEvidence(file); // before it is made smaller, which leaves nothing of it
      return { blob: await shrink(file), evidence };
    });
    this.line = ready;
    return ready;
  }
}
