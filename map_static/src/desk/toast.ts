/** One line at the bottom of the screen: what came of an act, and for ten seconds the means to undo it. */

const SHOWN_MS = 6_000;
const UNDO_MS = 10_000;
const GAP_PX = 16;

let bar: HTMLElement | null = null;
let timer = 0;

function element(): HTMLElement {
  if (!bar) {
    bar = Object.assign(document.createElement("div"), { className: "desk-toast", hidden: true });
    bar.setAttribute("role", "status");
    document.body.append(bar);
  }
  return bar;
}

/** Say something; with `undo`, offer to take it back. `kind` as of notices. */
export function say(text: string, options: { readonly kind?: string; readonly undo?: readonly [string, () => void] } = {}): void {
  const toast = element();
  clearTimeout(timer);
  toast.dataset.kind = options.kind ?? "success";
  toast.replaceChildren(Object.assign(document.createElement("span"), { textContent: text }));
  if (options.undo) {
    const [words, act] = options.undo;
    const button = Object.assign(document.createElement("button"), { type: "button", className: "button" });
    button.append(words, " ", Object.assign(document.createElement("kbd"), { textContent: "U" }));
    button.dataset.key = "u";
    button.addEventListener("click", () => {
      hush();
      act();
    });
    toast.append(button);
  }
  toast.style.bottom = `${aboveDock()}px`;
  toast.hidden = false;
  if (options.kind !== "error") timer = window.setTimeout(hush, options.undo ? UNDO_MS : SHOWN_MS);
}

/** It covers no button: where the acts stand at the bottom of the screen, it stands above them. */
function aboveDock(): number {
  const dock = document.querySelector(".desk-dock")?.getBoundingClientRect();
  const covered = dock && dock.top < innerHeight && dock.bottom >= innerHeight - 2 ? innerHeight - dock.top : 0;
  return covered + GAP_PX;
}

export function hush(): void {
  clearTimeout(timer);
  if (bar) bar.hidden = true;
}
