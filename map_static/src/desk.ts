/** The moderators' desk: everything by keyboard, pictures large, the place exact. */

import { openDeskMap } from "./desk/map";
import { actOf, isTyping } from "./desk/keys";
import { RedactionEditor } from "./desk/redaction";
import { PhotoZoom } from "./desk/zoom";
import { whenNear } from "./map/frame";
import { readWords } from "./words";

function move(by: 1 | -1): void {
  const links = Array.from(document.querySelectorAll<HTMLElement>("[data-desk-list] a"));
  const next = links[links.indexOf(document.activeElement as HTMLElement) + by] ?? links[by === 1 ? 0 : links.length - 1];
  next?.focus();
}

function chooseSeverity(rank: number): void {
  const marked = Array.from(document.querySelectorAll<HTMLInputElement>("input[data-severity-input], input[type=radio][name=severity]"));
  const input = marked.find((one) => one.value === String(rank));
  if (!input) return;
  input.focus();
  input.click();
}

function press(key: string): boolean {
  const target = Array.from(document.querySelectorAll<HTMLElement>("[data-key]")).find((one) => one.dataset.key === key);
  if (!target) return false;
  if (target instanceof HTMLAnchorElement || target instanceof HTMLButtonElement) target.click();
  else target.focus();
  return true;
}

function help(): void {
  const dialog = document.querySelector<HTMLDialogElement>("dialog[data-key-help]");
  if (dialog && !dialog.open) dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  const act = isTyping(event.target) || document.querySelector("dialog[open]") ? null : actOf(event);
  if (!act) return;
  if (act.kind === "move") move(act.by);
  else if (act.kind === "severity") chooseSeverity(act.rank);
  else if (act.kind === "help") help();
  else if (!press(act.key)) return;
  event.preventDefault();
});

customElements.define("redaction-editor", RedactionEditor);
const zoom = new PhotoZoom();
document.addEventListener("click", (event) => {
  const link = (event.target as Element).closest<HTMLAnchorElement>("a[data-zoom]");
  if (!link || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  zoom.open(link);
});
for (const button of document.querySelectorAll("[data-open-help]")) button.addEventListener("click", help);
for (const frame of document.querySelectorAll<HTMLElement>("[data-desk-map]")) {
  whenNear(frame, () => void openDeskMap(frame, readWords(frame)));
}
