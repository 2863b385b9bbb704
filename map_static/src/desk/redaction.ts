/**
 * `<redaction-editor>`: draws rectangles over a photo, by pointer or by keyboard; the form around it sends them.
 *
 * An element of its own kind, so that it works again whenever the page replaces it while the photo is made anew.
 * Without script the form's fields for numbers do the same.
 */

import { readWords, say, type Words } from "../words";
import { added, between, type Point, type Rectangle, stepped, written } from "./rectangle";

const SVG = "http://www.w3.org/2000/svg";

interface Drawn {
  rectangle: Rectangle;
  readonly shape: SVGRectElement;
  readonly input: HTMLInputElement;
  readonly item: HTMLLIElement;
}

export class RedactionEditor extends HTMLElement {
  private words: Words = {};
  private drawing: SVGSVGElement | null = null;
  private made = 0;
  private isDrawing = false;

  connectedCallback(): void {
    this.words = readWords(this);
    this.drawing = this.querySelector<SVGSVGElement>("[data-drawing]");
    const toggle = this.querySelector<HTMLButtonElement>("[data-draw]");
    if (!this.drawing || !toggle) return; // the photo is being made anew: there is nothing to edit yet
    toggle.addEventListener("click", () => this.setDrawing(toggle, !this.isDrawing));
    this.querySelector("[data-add]")?.addEventListener("click", () => this.add(added()).item.querySelector("button")?.focus());
    this.listen(this.drawing);
  }

  /** While drawing, a finger draws; otherwise it scrolls the page. A mouse always draws. */
  private setDrawing(toggle: HTMLButtonElement, isDrawing: boolean): void {
    this.isDrawing = isDrawing;
    this.classList.toggle("redaction-is-drawing", isDrawing);
    toggle.setAttribute("aria-pressed", String(isDrawing));
    toggle.textContent = say(this.words, isDrawing ? "stop" : "draw");
    if (isDrawing) this.querySelector("[data-frame]")?.scrollIntoView({ block: "nearest" });
  }

  private listen(drawing: SVGSVGElement): void {
    let from: Point | null = null;
    let current: Drawn | null = null;
    drawing.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary || event.button !== 0 || (event.pointerType !== "mouse" && !this.isDrawing)) return;
      event.preventDefault();
      drawing.setPointerCapture(event.pointerId);
      from = this.pointOf(event);
    });
    drawing.addEventListener("pointermove", (event) => {
      const rectangle = from && between(from, this.pointOf(event));
      if (!rectangle) return;
      if (current) this.place(current, rectangle);
      else current = this.add(rectangle);
    });
    const end = (): void => {
      from = null;
      current = null;
    };
    drawing.addEventListener("pointerup", end);
    drawing.addEventListener("pointercancel", () => {
      if (current) this.discard(current);
      end();
    });
  }

  private pointOf(event: PointerEvent): Point {
    const box = this.drawing!.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  }

  private add(rectangle: Rectangle): Drawn {
    this.made += 1;
    const number = this.made;
    const shape = document.createElementNS(SVG, "rect");
    shape.setAttribute("class", "redaction-drawn");
    const input = Object.assign(document.createElement("input"), { type: "hidden", name: "drawn" });
    const item = Object.assign(document.createElement("li"), { className: "list-row" });
    const drawn: Drawn = { rectangle, shape, input, item };
    item.append(this.handle(drawn, number), this.remover(drawn, number), input);
    this.drawing!.append(shape);
    this.querySelector("[data-drawn-list]")?.append(item);
    this.place(drawn, rectangle);
    return drawn;
  }

  /** The button whose arrow keys move and resize the rectangle; while it has the focus the rectangle stands out. */
  private handle(drawn: Drawn, number: number): HTMLButtonElement {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "button button-quiet" });
    button.textContent = say(this.words, "rectangle", { number });
    button.setAttribute("aria-describedby", "redaction-keys");
    button.addEventListener("focus", () => drawn.shape.classList.add("redaction-has-focus"));
    button.addEventListener("blur", () => drawn.shape.classList.remove("redaction-has-focus"));
    button.addEventListener("keydown", (event) => {
      const moved = stepped(drawn.rectangle, event.key, event.shiftKey);
      if (moved) this.place(drawn, moved);
      else if (event.key === "Delete") this.discard(drawn);
      else return;
      event.preventDefault();
    });
    return button;
  }

  private remover(drawn: Drawn, number: number): HTMLButtonElement {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "button button-quiet", textContent: "×" });
    button.setAttribute("aria-label", say(this.words, "remove", { number }));
    button.addEventListener("click", () => this.discard(drawn));
    return button;
  }

  private place(drawn: Drawn, rectangle: Rectangle): void {
    const { width, height } = this.drawing!.viewBox.baseVal;
    drawn.rectangle = rectangle;
    drawn.input.value = written(rectangle);
    const edges = { x: rectangle.left * width, y: rectangle.top * height, width: rectangle.width * width, height: rectangle.height * height };
    for (const [name, value] of Object.entries(edges)) drawn.shape.setAttribute(name, String(value));
  }

  private discard(drawn: Drawn): void {
    drawn.shape.remove();
    drawn.item.remove();
    this.querySelector<HTMLButtonElement>("[data-add]")?.focus();
  }
}
