/** The public map's page: reads what is published while the map's code is on its way, and says so where neither can be. */

import { ageIn } from "./map/age";
import { canDrawMaps, CannotDraw, showMessage, showSnapshot, whenNear } from "./map/frame";
import { Broken, MANIFEST, NotPublished, readPublished, type Published } from "./published";
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
  const drawn = (published?: Published): string => {
    const address = new URL(published ? published.manifest.snapshot : (frame.dataset.snapshot ?? ""), published?.base ?? location.href);
    address.searchParams.set("lang", frame.dataset.language ?? "");
    return address.href;
  };
  /** Why the live map is not there: the device, the data, or neither is known to be. */
  const snapshot = (why: "unavailable" | "broken" | "not_opened", published?: Published): void =>
    showSnapshot(frame, drawn(published), [say(words, why), published ? ageIn(words, published.manifest, null).text : ""], say(words, "snapshot"));
  const failed = (key: "not_published" | "load_failed"): void => {
    const link = key === "load_failed" && navigator.onLine ? { link: [drawn(), say(words, "open_snapshot")] as const } : {};
    showMessage(frame, say(words, key), { ...link, retry: [say(words, "retry"), () => void start(frame)] });
  };
  const isAble = canDrawMaps();
  const code = isAble ? import("./map/live") : null;
  code?.catch(() => undefined); // said below
  let published: Published;
  try {
    published = await (reading ?? read(frame));
  } catch (error) {
    reading = null;
    if (!isAble) snapshot("unavailable");
    else if (error instanceof Broken) snapshot("broken");
    else failed(error instanceof NotPublished ? "not_published" : "load_failed");
    return;
  }
  if (!code) {
    snapshot("unavailable", published);
    return;
  }
  try {
    const { goLive } = await code;
    await goLive(frame, published, words, (latest) => snapshot("unavailable", latest));
  } catch (error) {
    if (error instanceof CannotDraw) snapshot("unavailable", published);
    else if (navigator.onLine) snapshot("not_opened", published);
    else failed("load_failed");
  }
}

const frame = document.getElementById("map");
if (frame) {
  reading = read(frame);
  whenNear(frame, () => void start(frame));
}
