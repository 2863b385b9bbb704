/** The last twelve months, day by day. Months are read as they are reached. */

import { levelsOn, Missing, readFile, type Levels, type Month } from "../published";
import { say } from "../words";
import { dayBefore, DAYS, daysBack } from "./hash";
import { remember, type Live } from "./live";

/** With motion reduced the map changes seldom and by a week. */
const PACE = { usual: { everyMs: 180, days: 1 }, calm: { everyMs: 1500, days: 7 } } as const;

let opened: Slider | null = null;

export function openTime(live: Live, day: string | null = null): void {
  opened ??= new Slider(live);
  if (day) void opened.go(day);
}

class Slider {
  private readonly months = new Map<string, Promise<Month>>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly range = document.getElementById("map-day") as HTMLInputElement;
  private readonly shown = document.getElementById("map-day-words") as HTMLElement;
  private readonly play = document.getElementById("map-play") as HTMLButtonElement;
  private readonly said = document.getElementById("map-day-said");
  private asked = 0;

  constructor(private readonly live: Live) {
    this.range.max = String(DAYS);
    // Before the first published month nothing is known, which is not the same as no warnings.
    const first = Object.keys(live.published.manifest.history).sort()[0];
    if (first) this.range.min = String(Math.max(0, DAYS - daysBack(`${first}-01`, Date.now())));
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
    await this.show(Math.min(DAYS, Math.max(0, DAYS - daysBack(day, Date.now()))));
  }

  private get isPlaying(): boolean {
    return this.play.getAttribute("aria-pressed") === "true";
  }

  private start(): void {
    if (Number(this.range.value) >= DAYS) this.range.value = this.range.min;
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
    this.complain("");
    if (position >= DAYS) {
      this.live.colours.admit(new Set());
      this.live.showDay(null, null);
      remember(this.live);
      return;
    }
    const day = dayBefore(Date.now(), DAYS - position);
    const month = await this.month(day.slice(0, 7)).catch(() => null);
    if (turn !== this.asked) return; // moved on meanwhile
    if (!month) {
      this.press(false); // playing on would only fail on
      this.complain(day);
      return;
    }
    const levels: Levels = { confirmed: levelsOn(month, Number(day.slice(8))), approaching: new Map() };
    this.live.showDay(day, levels, isMoving);
    if (!isMoving) remember(this.live);
  }

  private month(name: string): Promise<Month> {
    const known = this.months.get(name);
    if (known) return known;
    const asked = this.read(name);
    this.months.set(name, asked);
    asked.then(
      () => this.admit(),
      () => this.months.delete(name), // the next look asks again
    );
    return asked;
  }

  /** A month's file; where it was superseded, the one that the pointer names now. */
  private async read(name: string): Promise<Month> {
    const file = async (): Promise<Month> => {
      const { manifest, base } = this.live.published;
      const named = manifest.history[name];
      if (!named) throw new Missing(name);
      const month = await readFile<Month>(new URL(named, base));
      if (typeof month.spans !== "object") throw new Error(named);
      return month;
    };
    try {
      return await file();
    } catch (error) {
      if (!(error instanceof Missing)) throw error;
      await this.live.renew();
      return await file();
    }
  }

  /** That nothing was read must not look like a day without warnings: the map stays, and it is said. */
  private complain(day: string): void {
    const text = day && say(this.live.words, "day_failed", { day });
    if (this.said && this.said.textContent !== text) this.said.textContent = text;
  }

  /** What the months that were read will colour has to be drawn before it can be coloured. */
  private admit(): void {
    void Promise.allSettled(this.months.values()).then((months) => {
      const spans = months.flatMap((month) => (month.status === "fulfilled" ? Object.values(month.value.spans) : []));
      const ids = spans.flatMap((of) => of.map(([id]) => id));
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
