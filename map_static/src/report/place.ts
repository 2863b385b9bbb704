/** The place of a report: pin, device and typed numbers keep one set of fields in step. */

import type { Map as Canvas, Marker as Pin } from "maplibre-gl";

import { formatDegrees, parseCoordinate } from "../coordinates";
import { canDrawMaps, clearFrame, showMessage } from "../map/frame";
import { locate, type Failure, type Fix } from "../position";
import type { Bounds } from "../geometry";
import { MANIFEST, NO_LEVELS, NotPublished, readPublished, readRanges, type Published } from "../published";
import { say, type Words } from "../words";
import type { Candidates } from "./candidates";
import { keepArea, readArea } from "./last-area";
import type { Nearby } from "./nearby";
import type { FoundPlace, Guide } from "./search";

const PLACE_ZOOM = 14;

export type Source = "pin" | "device" | "typed";

export class PlacePicker implements Guide {
  private map: Canvas | null = null;
  private opening: Promise<boolean> | null = null;
  private published: Published | null = null;
  private pin: Pin | null = null;
  private hasMovedByHand = false;
  private hasAsked = false;

  constructor(
    private readonly form: HTMLFormElement,
    private readonly candidates: Candidates,
    private readonly nearby: Pick<Nearby, "ask" | "clear">,
    private readonly words: Words,
  ) {
    for (const name of ["lon", "lat", "datum"]) this.control(name).addEventListener("change", () => this.takeTyped());
    document.getElementById("locate")?.addEventListener("click", () => void this.askDevice());
    // What the person has looked at and confirmed is not moved away under them by a better fix.
    this.confirmed()?.addEventListener("change", () => (this.hasMovedByHand = true));
    addEventListener("online", () => this.askAgain());
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
      this.nearby.clear();
      this.tellPlace("");
      this.hasMovedByHand = this.hasAsked = false;
      return;
    }
    this.hasMovedByHand = true;
    const isConfirmed = this.confirmed()?.checked ?? false;
    this.changed((this.control("place_source").value || "pin") as Source, place.lon, place.lat);
    const confirmed = this.confirmed();
    if (confirmed) confirmed.checked = isConfirmed;
    void this.show(place.lon, place.lat, true);
  }

  /** Whether both fields hold a place the server will understand. */
  place(): { lon: number; lat: number } | null {
    const lon = parseCoordinate(this.control("lon").value, "lon");
    const lat = parseCoordinate(this.control("lat").value, "lat");
    return lon === null || lat === null ? null : { lon, lat };
  }

  /** Open the map, once; where that cannot be, the other two ways remain and the frame says so. */
  open(): Promise<boolean> {
    return (this.opening ??= this.openMap(document.getElementById("place-map") as HTMLElement));
  }

  near(): { lon: number; lat: number } | null {
    return this.place();
  }

  /** What the phone itself knows: the names on the map as far as it has been seen here, and those of the large waters. */
  async known(words: string): Promise<readonly FoundPlace[]> {
    if (!(await this.open()) || !this.map) return [];
    const { searchKnown } = await import("../map/known");
    return searchKnown(this.map, this.published, words, this.language);
  }

  async go(found: FoundPlace): Promise<boolean> {
    if (!(await this.open()) || !this.map) return false;
    this.hasMovedByHand = true; // a fix that comes later must not tear the map away
    this.map.fitBounds([...found.bbox] as [number, number, number, number], { padding: 24, maxZoom: PLACE_ZOOM + 1, duration: 600 });
    return true;
  }

  /**
   * Widen the view to the nearest water: a pin on an empty ground tells nobody whether it is in the right place. Who has
   * set the pin by hand has seen the map, and it stays as it is.
   */
  showWater(lon: number, lat: number): void {
    const place = this.place();
    if (!this.map || !place || this.control("place_source").value === "pin" || this.map.getBounds().contains([lon, lat])) return;
    const [west, east] = [Math.min(lon, place.lon), Math.max(lon, place.lon)];
    const [south, north] = [Math.min(lat, place.lat), Math.max(lat, place.lat)];
    this.map.fitBounds([west, south, east, north], { padding: 60, maxZoom: PLACE_ZOOM, duration: 600 });
  }

  private async openMap(frame: HTMLElement): Promise<boolean> {
    if (!canDrawMaps()) {
      showMessage(frame, say(this.words, "map_unavailable"));
      return false;
    }
    try {
      const [published, { addControls, openMap }] = await Promise.all([this.readWaters(), import("../map/open")]);
      const last = readArea();
      const bounds = last && { bounds: [...last] as [number, number, number, number] };
      const { map } = await openMap(frame, { published, levels: published?.levels ?? NO_LEVELS, language: this.language }, this.words, { ...bounds });
      this.published = published;
      addControls(map);
      map.on("click", (event) => void this.put(event.lngLat.lng, event.lngLat.lat, "pin"));
      map.on("moveend", () => keepArea(map.getBounds().toArray().flat() as unknown as Bounds));
      this.map = map;
    } catch {
      this.opening = null;
      showMessage(frame, say(this.words, "map_failed"), { retry: [say(this.words, "map_again"), () => void this.open()] });
      return false;
    }
    clearFrame(frame);
    const known = this.place();
    if (known) await this.show(known.lon, known.lat, true);
    frame.dataset.ready = "yes";
    void keepMapOffline(this.published);
    return true;
  }

  private async readWaters(): Promise<Published | null> {
    try {
      return await readPublished(this.form.dataset.manifest ?? MANIFEST);
    } catch (error) {
      if (error instanceof NotPublished) return null;
      throw error;
    }
  }

  private askAgain(): void {
    const place = this.place();
    if (place) this.askAbout(place.lon, place.lat);
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
    const confirmed = this.confirmed();
    if (confirmed) confirmed.checked = false;
    this.tellPlace(say(this.words, "place_at", { place: `${lat.toFixed(5)}°, ${lon.toFixed(5)}°` }));
    this.askAbout(lon, lat);
  }

  private askAbout(lon: number, lat: number): void {
    const accuracy = this.control("place_source").value === "device" ? Number(this.control("accuracy_m").value || NaN) : NaN;
    const datum = this.control("datum").value;
    this.nearby.ask({ lon, lat, datum });
    this.candidates.ask({ lon, lat, datum, accuracyM: Number.isFinite(accuracy) ? accuracy : null });
  }

  private tellPlace(text: string): void {
    const words = document.getElementById("place-at");
    if (words) words.textContent = text;
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

  private confirmed(): HTMLInputElement | null {
    return this.form.querySelector<HTMLInputElement>("#place_confirmed");
  }

  private get language(): string {
    return this.form.dataset.language ?? "zh-Hans";
  }

  private button(): HTMLElement | null {
    return document.getElementById("locate");
  }

  private control(name: string): HTMLInputElement {
    return this.form.elements.namedItem(name) as HTMLInputElement;
  }
}

/** The worker keeps what the map needs, so that it opens here without a network, too. */
async function keepMapOffline(published: Published | null): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  try {
    // Read once, so that they are among what is kept.
    if (published) await (await import("../map/known")).largeLabels(published);
  } catch {
    // The line broke just now: what the map has shown is kept all the same.
  }
  (await navigator.serviceWorker.ready).active?.postMessage({ keep: "map", ranges: [...readRanges] });
}
