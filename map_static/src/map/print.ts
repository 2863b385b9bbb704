/** The map on paper: a picture of what is shown, with the day and the address; the legend is the page's own. */

import { say } from "../words";
import { localTime } from "./frame";
import type { Live } from "./live";

export async function print(live: Live): Promise<void> {
  prepare(live);
  await document.querySelector<HTMLImageElement>("#map-print img")?.decode().catch(() => undefined);
  window.print();
}

/** A drawn canvas is empty again after a moment: it is drawn and copied in one go. */
export function prepare(live: Live): void {
  const figure = document.getElementById("map-print");
  if (!figure) return;
  live.map.redraw();
  const picture = Object.assign(document.createElement("img"), { src: live.map.getCanvas().toDataURL("image/png"), alt: say(live.words, "map_label") });
  const { width, height } = live.map.getCanvas();
  if (width > 0 && height > 0) picture.style.setProperty("--ratio", String(width / height)); // width by height, for the sheet's rules
  const day = live.day ? say(live.words, "past", { day: live.day }) : say(live.words, "updated", { time: localTime(live.published.manifest.generated_at) });
  const caption = document.createElement("figcaption");
  caption.append(line(day), line(say(live.words, "not_official")), line(live.link(null)));
  figure.replaceChildren(picture, caption);
}

function line(textContent: string): HTMLElement {
  return Object.assign(document.createElement("p"), { textContent });
}
