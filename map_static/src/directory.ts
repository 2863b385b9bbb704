/** The administrator's question of a place: a click on the map is the coordinates of the form, in WGS-84. */

import { canDrawMaps, clearFrame, showMessage, whenNear } from "./map/frame";
import { MANIFEST, readPublished } from "./published";
import { readWords, say } from "./words";

const CLOSE_ZOOM = 9;
const DIGITS = 6;

async function start(frame: HTMLElement): Promise<void> {
  const words = readWords(frame);
  if (!canDrawMaps()) {
    showMessage(frame, say(words, "unavailable"));
    return;
  }
  try {
    const [published, { addControls, Marker, openMap }] = await Promise.all([readPublished(frame.dataset.manifest ?? MANIFEST), import("./map/open")]);
    const { lon, lat } = frame.dataset;
    const place = lon && lat ? ([Number(lon), Number(lat)] as [number, number]) : null;
    const input = { published, levels: published.levels, language: frame.dataset.language ?? "zh-Hans" };
    const { map } = await openMap(frame, input, words, place ? { center: place, zoom: CLOSE_ZOOM } : {});
    addControls(map);
    const marker = new Marker({ color: "#a51c26" });
    if (place) marker.setLngLat(place).addTo(map);
    map.on("click", ({ lngLat }) => {
      marker.setLngLat(lngLat).addTo(map);
      choose(lngLat.lng, lngLat.lat);
    });
    clearFrame(frame);
    frame.dataset.ready = "yes";
  } catch {
    showMessage(frame, say(words, "unavailable"));
  }
}

function choose(lon: number, lat: number): void {
  const form = document.querySelector<HTMLFormElement>("[data-pick-form]");
  if (!form) return;
  for (const [name, value] of Object.entries({ lon: lon.toFixed(DIGITS), lat: lat.toFixed(DIGITS), datum: "wgs84", q: "" })) {
    const field = form.elements.namedItem(name);
    if (field instanceof HTMLInputElement || field instanceof HTMLSelectElement) field.value = value;
  }
  form.requestSubmit();
}

for (const frame of document.querySelectorAll<HTMLElement>("[data-pick-map]")) whenNear(frame, () => void start(frame));
