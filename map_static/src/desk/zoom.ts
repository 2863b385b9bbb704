/** A large picture in place: opens over the page, zooms by key and wheel, moves by pointer, closes by Esc. */

import { keyOf } from "./keys";

const STEP = 1.4;
const MOST = 8;

export class PhotoZoom {
  private readonly dialog = Object.assign(document.createElement("dialog"), { className: "zoom" });
  private readonly image = document.createElement("img");
  private scale = 1;
  private at = { x: 0, y: 0 };
  private grabbed: { x: number; y: number } | null = null;

  constructor() {
    const close = Object.assign(document.createElement("button"), { type: "button", className: "zoom-close", textContent: "×" });
    close.setAttribute("aria-label", "Esc");
    close.addEventListener("click", () => this.dialog.close());
    this.dialog.append(this.image, close);
    document.body.append(this.dialog);
    this.listen();
  }

  /** Show the picture of a link that wraps a small one. */
  open(link: HTMLAnchorElement): void {
    const small = link.querySelector("img");
    this.image.alt = small?.alt ?? "";
    this.image.src = link.href;
    this.scale = 1;
    this.at = { x: 0, y: 0 };
    this.apply();
    this.dialog.showModal();
  }

  private listen(): void {
    this.dialog.addEventListener("keydown", (event) => {
      if (event.key === "+" || event.key === "=") this.zoom(STEP);
      if (event.key === "-") this.zoom(1 / STEP);
      if (event.key === "0") this.zoom(0);
      if (keyOf(event) === "z") this.dialog.close();
      if (event.key !== "Escape") event.stopPropagation();
    });
    this.dialog.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.zoom(event.deltaY < 0 ? STEP : 1 / STEP);
      },
      { passive: false },
    );
    this.image.draggable = false;
    this.image.addEventListener("pointerdown", (event) => {
      this.grabbed = { x: event.clientX - this.at.x, y: event.clientY - this.at.y };
      this.image.setPointerCapture(event.pointerId);
    });
    this.image.addEventListener("pointermove", (event) => {
      if (!this.grabbed) return;
      this.at = { x: event.clientX - this.grabbed.x, y: event.clientY - this.grabbed.y };
      this.apply();
    });
    this.image.addEventListener("pointerup", () => (this.grabbed = null));
    this.image.addEventListener("dblclick", () => this.zoom(this.scale > 1 ? 0 : 2.5));
  }

  private zoom(factor: number): void {
    this.scale = Math.min(MOST, Math.max(1, this.scale * factor));
    if (this.scale === 1) this.at = { x: 0, y: 0 };
    this.apply();
  }

  private apply(): void {
    this.image.style.transform = `translate(${this.at.x}px, ${this.at.y}px) scale(${this.scale})`;
  }
}
