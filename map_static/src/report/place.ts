/** The place of a report: pin, device and typed numbers keep one set of fields in step. */

import type { Map as Canvas, Marker as Pin } from "maplibre-gl";

import { formatDegrees, parseCoordinate } from "../coordinates";
import { canDrawMaps, clearFrame, showMessage } from "../map/frame";
import { locate, type Failure, type Fix } from "../position";
import { NotPublished, readPublished, type Published } from "../published";
import { say, type Words } from "../words";
import type { Candidates } from "./candidates";
import type { Nearby } from "./nearby";

const PLACE_ZOOM = 14;
const NO_WATERS: Published["waters"] = { type: "FeatureCollection", features: [] };

export type Source = "pin" | "device" | "typed";

export class PlacePicker {
  private map: Canvas | null = null;
  private pin: Pin | null = null;
  private hasMovedByHand = false;
  private hasAsked = false;

  constructor(
    private readonly form: HTMLFormElement,
    private readonly candidates: Candidates,
    private readonly nearby: Pick<Nearby, "ask">,
    private readonly words: Words,
  ) {
    for (const name of ["lon", "lat", "datum"]) this.control(name).addEventListener("change", () => this.takeTyped());
    document.getElementById("locate")?.addEventListener("click", () => void this.askDevice());
  }

  /** Ask the device once, unless there is a place already: the first photo is the moment it makes sense. */
  locateOnce(): void {
    if (this.place() || this.hasAsked) return;
    void this.askDevice();
  }

  /** Show the place of a report that was kept. */
  restore(): void {
    const place = this.place();
    if (!place) {
      this.removePin();
      this.candidates.clear();
      return;
    }
    this.hasMovedByHand = true;
    const isConfirmed = this.form.querySelector<HTMLInputElement>("#place_confirmed")?.checked ?? false;
    this.changed((this.control("place_source").value || "pin") as Source, place.lon, place.lat);
    const confirmed = this.form.querySelector<HTMLInputElement>("#place_confirmed");
    if (confirmed) confirmed.checked = isConfirmed;
    void this.show(place.lon, place.lat, true);
  }

  /** Whether both fields hold a place the server will understand. */
  place(): { lon: number; lat: number } | null {
    const lon = parseCoordinate(this.control("lon").value, "lon");
    const lat = parseCoordinate(this.control("lat").value, "lat");
    return lon === null || lat === null ? null : { lon, lat };
  }

  /** Open the map in its frame; where that cannot be, the other two ways remain and the frame says so. */
  async open(frame: HTMLElement): Promise<void> {
    if (!canDrawMaps()) {
      showMessage(frame, say(this.words, "map_unavailable"));
      return;
    }
    try {
      const [published, { addControls, openMap }] = await Promise.all([this.waters(), import("../map/open")]);
      const language = this.form.dataset.language ?? "zh-Hans";
      const map = await openMap(frame, { ...published, incidents: null, language }, this.words);
      addControls(map);
      map.on("click", (event) => void this.put(event.lngLat.lng, event.lngLat.lat, "pin"));
      this.map = map;
      clearFrame(frame);
      const known = this.place();
      if (known) await this.show(known.lon, known.lat, true);
      frame.dataset.ready = "yes";
    } catch {
      showMessage(frame, say(this.words, "map_unavailable"));
    }
  }

  private async waters(): Promise<Pick<Published, "waters" | "levels">> {
    try {
      return await readPublished(this.form.dataset.manifest ?? "/published/manifest.json");
    } catch (error) {
      if (error instanceof NotPublished) return { waters: NO_WATERS, levels: [] };
      throw error;
    }
  }

  private async askDevice(): Promise<void> {
    this.hasAsked = true;
    const button = this.button();
    const status = document.getElementById("locate-status");
    const tell = (key: string, values?: Record<string, number>): void => {
      if (status) status.textContent = say(this.words, key, values);
    };
    button?.setAttribute("aria-disabled", "true");
    this.hasMovedByHand = false;
    tell("locating_first");
    try {
      const best = await locate((fix) => {
        tell("locating", { metres: Math.round(fix.accuracyM) });
        this.takeFix(fix);
      });
      tell("located", { metres: Math.round(best.accuracyM) });
    } catch (failure) {
      tell((failure as Failure) === "denied" ? "locate_denied" : "locate_failed");
    } finally {
      button?.removeAttribute("aria-disabled");
    }
  }

  /** The device's word is always kept as evidence; it moves the pin only while nobody has moved it by hand. */
  private takeFix(fix: Fix): void {
    this.control("device_lon").value = formatDegrees(fix.lon);
    this.control("device_lat").value = formatDegrees(fix.lat);
    this.control("accuracy_m").value = fix.accuracyM.toFixed(1);
    if (!this.hasMovedByHand) void this.put(fix.lon, fix.lat, "device");
  }

  private async put(lon: number, lat: number, source: Source): Promise<void> {
    if (source === "pin") this.hasMovedByHand = true;
    this.control("lon").value = formatDegrees(lon);
    this.control("lat").value = formatDegrees(lat);
    this.control("datum").value = "wgs84";
    this.changed(source, lon, lat);
    await this.show(lon, lat, source === "device");
  }

  private takeTyped(): void {
    const place = this.place();
    if (!place) return;
    this.hasMovedByHand = true;
    this.changed("typed", place.lon, place.lat);
    // Numbers in another datum lie some hundred metres off on our map; the server converts them.
    if (this.control("datum").value === "wgs84") void this.show(place.lon, place.lat, true);
    else this.removePin();
  }

  private changed(source: Source, lon: number, lat: number): void {
    this.control("place_source").value = source;
    const confirmed = this.form.querySelector<HTMLInputElement>("#place_confirmed");
    if (confirmed) confirmed.checked = false;
    const words = document.getElementById("place-words");
    const place = `${lat.toFixed(5)}°, ${lon.toFixed(5)}°`;
    if (words) words.textContent = say(this.words, "place_at", { place });
    const accuracy = source === "device" ? Number(this.control("accuracy_m").value) : NaN;
    this.nearby.ask({ lon, lat, datum: this.control("datum").value });
    this.candidates.ask({ lon, lat, datum: this.control("datum").value, accuracyM: Number.isFinite(accuracy) ? accuracy : null });
  }

  private async show(lon: number, lat: number, follow: boolean): Promise<void> {
    if (!this.map) return;
    if (!this.pin) {
      const { Marker } = await import("../map/open");
      const pin = new Marker({ draggable: true, color: "#a51c26", scale: 1.25, className: "place-pin" });
      pin.on("dragend", () => {
        const { lng, lat } = pin.getLngLat();
        void this.put(lng, lat, "pin");
      });
      pin.getElement().setAttribute("aria-label", say(this.words, "pin"));
      this.pin = pin;
    }
    this.pin.setLngLat([lon, lat]);
    // Adding anew would take the element out of the page for a moment, and the keyboard's focus with it.
    if (!this.pin.getElement().isConnected) this.pin.addTo(this.map);
    if (follow) this.map.flyTo({ center: [lon, lat], zoom: Math.max(this.map.getZoom(), PLACE_ZOOM), duration: 600 });
  }

  private removePin(): void {
    this.pin?.remove();
  }

  private button(): HTMLElement | null {
    return document.getElementById("locate");
  }

  private control(name: string): HTMLInputElement {
    return this.form.elements.namedItem(name) as HTMLInputElement;
  }
}
