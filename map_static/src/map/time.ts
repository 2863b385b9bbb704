/** The last twelve months, day by day. Months are read as they are reached. */

import type { Rank } from "../levels";
import { levelsOn, readFile, type Levels, type Month } from "../published";
import { say } from "../words";
import { remember, type Live } from "./live";

const DAYS = 365;
const DAY_MS = 86_400_000;
/** With motion reduced the map changes seldom and by a week. */
const PACE = { usual: { everyMs: 180, days: 1 }, calm: { everyMs: 1500, days: 7 } } as const;
/** The days of the published files are days in China. */
const CHINA_MS = 8 * 3_600_000;

let opened: Slider | null = null;

export function openTime(live: Live, day: string | null = null): void {
  opened ??= new Slider(live);
  if (day) void opened.go(day);
}

/** The day before today by so many, as the files count days. */
export function dayBefore(now: number, days: number): string {
  return new Date(now + CHINA_MS - days * DAY_MS).toISOString().slice(0, 10);
}

class Slider {
  private readonly months = new Map<string, Promise<Month | null>>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly range = document.getElementById("map-day") as HTMLInputElement;
  private readonly shown = document.getElementById("map-day-words") as HTMLElement;
  private readonly play = document.getElementById("map-play") as HTMLButtonElement;
  private asked = 0;

  constructor(private readonly live: Live) {
    this.range.max = String(DAYS);
    this.range.value = String(DAYS);
    this.range.addEventListener("input", () => {
      this.pause();
      void this.show(Number(this.range.value), true);
    });
    this.range.addEventListener("change", () => void this.show(Number(this.range.value)));
    this.play.addEventListener("click", () => (this.isPlaying ? this.pause() : this.start()));
    document.getElementById("map-today")?.addEventListener("click", () => {
      this.pause();
      void this.show(DAYS);
    });
    document.addEventListener("visibilitychange", () => document.hidden && this.pause());
    this.tell();
  }

  async go(day: string): Promise<void> {
    const back = Math.round((Date.parse(dayBefore(Date.now(), 0)) - Date.parse(day)) / DAY_MS);
    await this.show(Math.min(DAYS, Math.max(0, DAYS - back)));
  }

  private get isPlaying(): boolean {
    return this.play.getAttribute("aria-pressed") === "true";
  }

  private start(): void {
    if (Number(this.range.value) >= DAYS) this.range.value = "0";
    this.press(true);
    const { everyMs, days } = matchMedia("(prefers-reduced-motion: reduce)").matches ? PACE.calm : PACE.usual;
    const step = async (): Promise<void> => {
      const next = Math.min(DAYS, Number(this.range.value) + days);
      await this.show(next, next < DAYS);
      if (next >= DAYS) this.pause();
      else if (this.isPlaying) this.timer = setTimeout(() => void step(), everyMs);
    };
    void step();
  }

  private pause(): void {
    clearTimeout(this.timer);
    if (!this.isPlaying) return;
    this.press(false);
    void this.show(Number(this.range.value));
  }

  private press(isPlaying: boolean): void {
    this.play.setAttribute("aria-pressed", String(isPlaying));
    this.play.textContent = say(this.live.words, isPlaying ? "pause" : "play");
  }

  private async show(position: number, isMoving = false): Promise<void> {
    this.range.value = String(position);
    this.tell();
    const turn = ++this.asked;
    if (position >= DAYS) {
      this.live.colours.admit(new Set());
      this.live.showDay(null, null);
      remember(this.live);
      return;
    }
    const day = dayBefore(Date.now(), DAYS - position);
    const month = await this.month(day.slice(0, 7));
    if (turn !== this.asked) return; // moved on meanwhile
    const confirmed = month ? levelsOn(month, Number(day.slice(8))) : new Map<number, Rank>();
    const levels: Levels = { confirmed, approaching: new Map() };
    this.live.showDay(day, levels, isMoving);
    if (!isMoving) remember(this.live);
  }

  private month(name: string): Promise<Month | null> {
    const known = this.months.get(name);
    if (known) return known;
    const { manifest, base } = this.live.published;
    const file = manifest.history[name];
    const asked = file ? readFile<Month>(new URL(file, base)).catch(() => null) : Promise.resolve(null);
    this.months.set(name, asked);
    void asked.then((month) => {
      if (!month) this.months.delete(name);
      else this.admit();
    });
    return asked;
  }

  /** What the months that were read will colour has to be drawn before it can be coloured. */
  private admit(): void {
    void Promise.all(this.months.values()).then((months) => {
      const ids = months.flatMap((month) => Object.values(month?.spans ?? {}).flatMap((spans) => spans.map(([id]) => id)));
      this.live.colours.admit(new Set(ids));
    });
  }

  private tell(): void {
    const position = Number(this.range.value);
    const words = position >= DAYS ? say(this.live.words, "today") : dayBefore(Date.now(), DAYS - position);
    this.shown.textContent = words;
    this.range.setAttribute("aria-valuetext", words);
  }
}
