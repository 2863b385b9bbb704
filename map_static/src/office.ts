/** The officers' desk: the list by keyboard, several cases at once, photos large, the map of the agency's area. */

import { isTyping, keyOf } from "./desk/keys";
import { PhotoZoom } from "./desk/zoom";
import { whenNear } from "./map/frame";
import { showOfficeMap } from "./office/map";
import { fill } from "./words";

const zoom = new PhotoZoom();

function rows(): HTMLElement[] {
  return Array.from(document.querySelectorAll<HTMLElement>("[data-office-row]"));
}

function links(): HTMLElement[] {
  return rows().flatMap((row) => row.querySelector<HTMLElement>("a") ?? []);
}

function move(by: 1 | -1): boolean {
  const all = links();
  const here = all.findIndex((one) => one.closest("[data-office-row]")?.contains(document.activeElement));
  const next = all[here + by] ?? all[by === 1 ? 0 : all.length - 1];
  next?.focus();
  return next !== undefined;
}

function tick(): boolean {
  const row = document.activeElement?.closest("[data-office-row]");
  const box = row?.querySelector<HTMLInputElement>("input[type=checkbox]");
  box?.click();
  return box !== undefined && box !== null;
}

function press(key: string): boolean {
  const found = Array.from(document.querySelectorAll<HTMLElement>(`[data-key="${CSS.escape(key)}"]`)).find((one) => one.offsetParent !== null);
  if (!found || (found as HTMLButtonElement).disabled) return false;
  const panel = found.matches("summary") ? found.parentElement : null;
  if (panel instanceof HTMLDetailsElement) {
    open(panel);
    return true;
  }
  found.focus();
  if (found instanceof HTMLButtonElement || found instanceof HTMLAnchorElement) found.click();
  return true;
}

function open(panel: HTMLDetailsElement): void {
  panel.open = true;
  panel.scrollIntoView({ block: "center" });
  panel.querySelector<HTMLElement>("textarea, select, input:not([type=hidden])")?.focus();
}

function help(): boolean {
  const dialog = document.querySelector<HTMLDialogElement>("dialog[data-key-help]");
  if (!dialog || dialog.open) return false;
  dialog.showModal();
  return true;
}

function act(key: string): boolean {
  if (key === "?") return help();
  if (key === "j" || key === "k") return move(key === "j" ? 1 : -1);
  if (key === "x") return tick();
  return press(key);
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

/** How many are ticked is said on the button that acknowledges them; it rests while there is none. */
function followTicks(): void {
  const button = document.querySelector<HTMLButtonElement>("[data-office-bulk]");
  const all = document.querySelector<HTMLInputElement>("[data-office-all]");
  const boxes = Array.from(document.querySelectorAll<HTMLInputElement>("[data-office-row] input[type=checkbox]"));
  if (!button) return;
  const label = button.querySelector<HTMLElement>("[data-label]");
  const show = (): void => {
    const count = boxes.filter((box) => box.checked).length;
    button.disabled = count === 0;
    if (label) label.textContent = count === 0 ? (button.dataset.none ?? "") : fill(button.dataset.some ?? "", { count });
    if (all) {
      all.checked = count > 0 && count === boxes.length;
      all.indeterminate = count > 0 && count < boxes.length;
    }
  };
  for (const box of boxes) box.addEventListener("change", show);
  all?.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    show();
  });
  addEventListener("pageshow", show);
  show();
}

document.addEventListener("click", (event) => {
  const target = event.target as Element;
  const link = target.closest<HTMLAnchorElement>("a[data-zoom]");
  if (link && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    zoom.open(link);
  }
  if (target.closest("[data-open-help]")) help();
});

followTicks();
for (const frame of document.querySelectorAll<HTMLElement>("[data-office-map]")) whenNear(frame, () => void showOfficeMap(frame));
