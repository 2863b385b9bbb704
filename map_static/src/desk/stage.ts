/** One photo large, the others to choose from. Works on whatever stage the page shows now. */

export function stage(): HTMLElement | null {
  return document.querySelector<HTMLElement>(".stage");
}

/** Go to the next or the former photo, round and round. */
export function stepPhoto(by: 1 | -1): boolean {
  const photos = photosOf();
  if (photos.length < 2) return false;
  const current = photos.findIndex((one) => one.classList.contains("is-shown"));
  showPhoto((current + by + photos.length) % photos.length);
  return true;
}

export function showPhoto(index: number): void {
  photosOf().forEach((one, at) => one.classList.toggle("is-shown", at === index));
  stage()?.querySelectorAll("[data-thumb]").forEach((one, at) => {
    if (at === index) one.setAttribute("aria-current", "true");
    else one.removeAttribute("aria-current");
  });
}

/** The photo that is looked at. */
export function currentPhoto(): HTMLElement | null {
  return stage()?.querySelector<HTMLElement>("[data-photo].is-shown") ?? null;
}

/** Whether the pictures are blurred until somebody asks for them. */
export function isConcealed(): boolean {
  return stage()?.querySelector<HTMLInputElement>("[data-reveal]")?.checked === false;
}

/** Show or blur every picture of the page that may be hard to look at. False when there is none. */
export function toggleSensitive(): boolean {
  const boxes = Array.from(document.querySelectorAll<HTMLInputElement>("input[data-reveal]"));
  const reveal = boxes.some((box) => !box.checked);
  for (const box of boxes) box.checked = reveal;
  return boxes.length > 0;
}

function photosOf(): HTMLElement[] {
  return Array.from(stage()?.querySelectorAll<HTMLElement>("[data-photo]") ?? []);
}
