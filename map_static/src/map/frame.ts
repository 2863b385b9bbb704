/** What a map's frame shows while there is no map: opening, failed, not possible on this device. */

/** The device has not what drawing maps takes. */
export class CannotDraw extends Error {}

/** WebGL 2 is what MapLibre needs; asking first spares old phones half a megabyte. */
export function canDrawMaps(): boolean {
  try {
    return document.createElement("canvas").getContext("webgl2") !== null;
  } catch {
    return false;
  }
}

export function clearFrame(frame: HTMLElement): void {
  frame.classList.remove("map-frame-plain");
  for (const part of frame.querySelectorAll("[data-loading], .map-message, .map-snapshot")) part.remove();
}

/** The same, and what is left of a map that came to nothing. */
function emptyFrame(frame: HTMLElement): void {
  clearFrame(frame);
  for (const part of frame.querySelectorAll(".map-canvas, .map-age, .map-attribution")) part.remove();
}

/** A sentence in the frame's middle, with an optional link and an optional second try. */
export function showMessage(
  frame: HTMLElement,
  text: string,
  offers: { readonly link?: readonly [string, string]; readonly retry?: readonly [string, () => void] } = {},
): void {
  emptyFrame(frame);
  const message = document.createElement("div");
  message.className = "map-message";
  message.setAttribute("role", "status");
  message.append(Object.assign(document.createElement("p"), { textContent: text }));
  if (offers.link) {
    const [href, words] = offers.link;
    message.append(Object.assign(document.createElement("a"), { href, textContent: words, className: "button" }));
  }
  if (offers.retry) {
    const [words, again] = offers.retry;
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: words, className: "button" });
    button.addEventListener("click", again);
    message.append(button);
  }
  frame.append(message);
  frame.classList.add("map-frame-plain"); // only as high as the sentence
}

/** The drawn page in the live map's place. `texts`: why it is there, and how old the data is. */
export function showSnapshot(frame: HTMLElement, address: string, texts: readonly string[], title: string): void {
  emptyFrame(frame);
  const snapshot = Object.assign(document.createElement("div"), { className: "map-snapshot" });
  const said = document.createElement("div");
  said.setAttribute("role", "status");
  said.append(...texts.filter(Boolean).map((textContent) => Object.assign(document.createElement("p"), { textContent })));
  snapshot.append(said, Object.assign(document.createElement("iframe"), { src: address, title }));
  frame.append(snapshot);
}

/** Run once, when an element comes near the screen. */
export function whenNear(element: Element, run: () => void): void {
  if (!("IntersectionObserver" in window)) {
    run();
    return;
  }
  const observer = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      run();
    },
    { rootMargin: "200px" },
  );
  observer.observe(element);
}

/** What shows that somebody is at the page, and not merely its loading. */
const SIGNS = ["pointerdown", "keydown", "wheel", "touchmove", "scroll"] as const;

/**
 * Run once, when a person has reached an element: it lies on the screen, and they have touched, scrolled or pressed
 * something. A page that is only opened loads nothing heavy, however tall the screen.
 */
export function whenReached(element: Element, run: () => void): void {
  const begin = (): void => {
    for (const sign of SIGNS) removeEventListener(sign, begin, true);
    whenNear(element, run);
  };
  for (const sign of SIGNS) addEventListener(sign, begin, { capture: true, passive: true });
}

/** Date and time on the viewer's clock, written as on every page. */
export function localTime(iso: string): string {
  const moment = new Date(iso);
  const two = (number: number): string => String(number).padStart(2, "0");
  const day = `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
  return `${day} ${two(moment.getHours())}:${two(moment.getMinutes())}`;
}

/** How long ago something was, in the largest unit that is whole: minutes, hours or days. */
export function ageOf(iso: string, now: number): readonly ["minutes" | "hours" | "days", number] {
  const minutes = Math.max(0, Math.floor((now - Date.parse(iso)) / 60_000));
  if (minutes < 60) return ["minutes", minutes];
  return minutes < 48 * 60 ? ["hours", Math.floor(minutes / 60)] : ["days", Math.floor(minutes / (24 * 60))];
}
