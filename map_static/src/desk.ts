/** The moderators' desk: everything by keyboard, pictures large, the place exact, the next report ready. */

import { answerArrivals, followBelow, followRuling } from "./desk/below";
import { drawBelow, moveSnap, pairOf, showDeskMap } from "./desk/map";
import { isTyping, keyOf } from "./desk/keys";
import { RedactionEditor } from "./desk/redaction";
import { Round } from "./desk/round";
import { followRubric } from "./desk/rubric";
import { currentPhoto, isConcealed, showPhoto, stepPhoto, toggleSensitive } from "./desk/stage";
import { say as toast } from "./desk/toast";
import { PhotoZoom } from "./desk/zoom";
import { whenNear } from "./map/frame";
import { keepFresh } from "./refresh";
import { readWords } from "./words";

const MAP_AFTER_MS = 120;
const zoom = new PhotoZoom();
const words = JSON.parse(document.getElementById("desk-words")?.textContent ?? "{}") as Readonly<Record<string, string>>;

/** The parts of the report on the screen begin to work. */
function attend(): void {
  const form = document.querySelector<HTMLFormElement>("#grade-form");
  if (form) followRubric(form, readWords(form));
  drawBelow({ type: "FeatureCollection", features: [] }); // of the report before
  followRuling(document);
  answerArrivals(document);
  // Pictures and form come first: drawing a map keeps a slow machine busy for longer than showing them takes.
  afterPaint(() => {
    for (const frame of document.querySelectorAll<HTMLElement>("[data-desk-map]")) whenNear(frame, () => void showDeskMap(frame));
    for (const panel of document.querySelectorAll<HTMLElement>("[data-downstream]")) followBelow(panel);
  });
}

function afterPaint(act: () => void): void {
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(act, MAP_AFTER_MS)));
}

function isUsable(element: HTMLElement): boolean {
  return element.offsetParent !== null && !(element as HTMLButtonElement).disabled;
}

function find(attribute: string, key: string): HTMLElement | undefined {
  return Array.from(document.querySelectorAll<HTMLElement>(`[${attribute}="${CSS.escape(key)}"]`)).find(isUsable);
}

function press(key: string): boolean {
  const target = find("data-key", key);
  if (!target) return false;
  const isPressed = target instanceof HTMLAnchorElement || target instanceof HTMLButtonElement || (target as HTMLInputElement).type === "checkbox";
  target.closest("details")?.setAttribute("open", "");
  if (!isPressed || (target as HTMLInputElement).type === "checkbox") target.focus();
  if (isPressed) target.click();
  return true;
}

/** One further in a list of choices or a select, round and round. */
function cycle(key: string): boolean {
  const by = find("data-key-next", key) ? 1 : -1;
  const target = find(by === 1 ? "data-key-next" : "data-key-previous", key);
  if (!target) return false;
  if (target instanceof HTMLSelectElement) {
    const last = target.options.length - 1;
    const isRound = !("keyPrevious" in target.dataset);
    target.selectedIndex = isRound ? (target.selectedIndex + by + last + 1) % (last + 1) : Math.min(last, Math.max(0, target.selectedIndex + by));
    target.dispatchEvent(new Event("change", { bubbles: true }));
    return true;
  }
  const inputs = Array.from(target.querySelectorAll<HTMLInputElement>("input[type=radio]"));
  const next = inputs[(inputs.findIndex((one) => one.checked) + by + inputs.length) % inputs.length];
  next?.focus();
  next?.click();
  return true;
}

function moveInList(by: 1 | -1): boolean {
  const links = Array.from(document.querySelectorAll<HTMLElement>("[data-desk-list] a"));
  const next = links[links.indexOf(document.activeElement as HTMLElement) + by] ?? links[by === 1 ? 0 : links.length - 1];
  next?.focus();
  return next !== undefined;
}

/** A digit is one of the open panel's reasons, else a level. */
function digit(key: string): boolean {
  const panel = openPanel();
  const reasons = panel?.querySelectorAll<HTMLInputElement>("input[type=radio]");
  const input = reasons ? (reasons[Number(key) - 1] ?? null) : document.querySelector<HTMLInputElement>(`input[data-severity-input][value="${key}"]`);
  input?.focus();
  input?.click();
  return input !== null;
}

function openPanel(): HTMLDetailsElement | null {
  return document.querySelector<HTMLDetailsElement>("details.desk-panel[open]");
}

/** Kind words for a reason to refuse, unless somebody has written their own. */
function offerWords(chosen: HTMLInputElement): void {
  const field = chosen.form?.elements.namedItem("words") as HTMLTextAreaElement | null;
  const ready = Array.from(chosen.form?.querySelectorAll<HTMLInputElement>("input[data-ready]") ?? [], (one) => one.dataset.ready);
  if (field && (field.value === "" || ready.includes(field.value))) field.value = chosen.dataset.ready ?? "";
}

function closePanel(): boolean {
  const panel = openPanel();
  if (panel) panel.open = false;
  return panel !== null;
}

function togglePanel(id: string): void {
  const panel = document.getElementById(id) as HTMLDetailsElement | null;
  if (!panel) return;
  const opens = !panel.open;
  closePanel();
  panel.open = opens;
  if (!opens) return;
  panel.scrollIntoView({ block: "center" });
  panel.querySelector<HTMLElement>("input:not([type=hidden]), textarea, select, button")?.focus();
}

function enlarge(): boolean {
  const link = currentPhoto()?.querySelector<HTMLAnchorElement>("a[data-zoom]");
  if (!link) return false;
  if (isConcealed()) toast(words.concealed ?? "", { kind: "info" });
  else zoom.open(link);
  return true;
}

function help(): boolean {
  const dialog = document.querySelector<HTMLDialogElement>("dialog[data-key-help]");
  if (!dialog || dialog.open) return false;
  dialog.showModal();
  dialog.scrollTop = 0; // the focus went to its button, at its end
  return true;
}

function act(key: string): boolean {
  if (key === "?") return help();
  if (key === "[" || key === "]") return stepPhoto(key === "]" ? 1 : -1);
  if (key === "z") return enlarge();
  if (key === "s") return toggleSensitive();
  if (key === "escape") return closePanel();
  if (/^[0-9]$/.test(key)) return digit(key);
  return press(key) || cycle(key) || ((key === "j" || key === "k") && moveInList(key === "j" ? 1 : -1));
}

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.isComposing) return;
  if (isTyping(event.target)) {
    const field = event.target as HTMLInputElement;
    if (event.key === "Escape") field.blur();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) field.form?.requestSubmit();
    return;
  }
  const key = keyOf(event);
  if (key !== null && act(key)) event.preventDefault();
});

document.addEventListener("click", (event) => {
  const target = event.target as Element;
  const link = target.closest<HTMLAnchorElement>("a[data-zoom]");
  if (link && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    zoom.open(link);
  }
  const thumb = target.closest<HTMLElement>("[data-thumb]");
  if (thumb) showPhoto(Number(thumb.dataset.thumb));
  const opener = target.closest<HTMLElement>("[data-opens]");
  if (opener) togglePanel(opener.dataset.opens ?? "");
  if (target.closest("[data-open-help]")) help();
});

document.addEventListener("change", (event) => {
  const input = event.target as HTMLInputElement;
  const chosen = input.name === "water_feature_id" ? pairOf(input.dataset.lon, input.dataset.lat) : null;
  if (chosen) moveSnap(chosen);
  if (input.dataset.ready) offerWords(input);
});

customElements.define("redaction-editor", RedactionEditor);
const main = document.getElementById("main");
if (main && main.querySelector("[data-review]")) {
  const shown = (): void => {
    attend();
    if (main.querySelector("[data-refresh-s]")) keepFresh(() => undefined);
  };
  new Round(main, words, { shown }).start();
}
attend();
