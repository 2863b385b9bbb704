/** The public map's page: reads what is published while the map's code is on its way, and says so where neither can be. */

import { canDrawMaps, showMessage, showSnapshot, whenNear } from "./map/frame";
import { MANIFEST, NotPublished, readPublished, type Published } from "./published";
import { readWords, say } from "./words";

/** Begun before the map's code has arrived, and before anything is drawn: on a poor line every way there and back counts. */
let reading: Promise<Published> | null = null;

function read(frame: HTMLElement): Promise<Published> {
  const asked = readPublished(frame.dataset.manifest ?? MANIFEST);
  asked.catch(() => undefined); // said below
  return asked;
}

async function start(frame: HTMLElement): Promise<void> {
  const words = readWords(frame);
  const retry = [say(words, "retry"), () => void start(frame)] as const;
  const snapshot = (published?: Published): void =>
    showSnapshot(frame, published ? new URL(published.manifest.snapshot, published.base).href : (frame.dataset.snapshot ?? ""), say(words, "unavailable"), say(words, "snapshot"));
  const isAble = canDrawMaps();
  const code = isAble ? import("./map/live") : null;
  code?.catch(() => undefined); // said below
  let published: Published;
  try {
    published = await (reading ?? read(frame));
  } catch (error) {
    reading = null;
    if (!isAble) snapshot();
    else showMessage(frame, say(words, error instanceof NotPublished ? "not_published" : "load_failed"), { retry });
    return;
  }
  if (!code) {
    snapshot(published);
    return;
  }
  try {
    const { goLive } = await code;
    await goLive(frame, published, words, () => snapshot(published));
  } catch {
    if (navigator.onLine) snapshot(published);
    else showMessage(frame, say(words, "load_failed"), { retry });
  }
}

const frame = document.getElementById("map");
if (frame) {
  reading = read(frame);
  whenNear(frame, () => void start(frame));
}
