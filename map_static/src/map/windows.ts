/** When something is expected, in words: "tomorrow 14:00–20:00", on the viewer's clock. The same rule as `waterwatch/web/windows.py`. */

import type { Expected } from "../expected";
import { group, say, type Words } from "../words";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

type Times = Pick<Expected, "earliest" | "probable">;

/** A window with its ends moved outwards to full hours; without `probable` "not before", without `earliest` that no time is known. */
export function windowWords({ earliest, probable }: Times, words: Words, language: string, now: number): string {
  if (earliest === null) return say(words, "window_unknown");
  const begins = hourBefore(new Date(earliest));
  const day = dayWords(begins, words, language, now);
  const from = clock(begins);
  if (probable === null) return say(words, "window_not_before", { day, from });
  const ends = new Date(Math.max(hourBefore(new Date(probable + HOUR_MS - 1)).getTime(), begins.getTime() + HOUR_MS));
  const isMidnight = ends.getHours() === 0; // the day that ends then, as people say it
  const last = isMidnight ? new Date(ends.getTime() - HOUR_MS) : ends;
  const until = isMidnight ? "24:00" : clock(ends);
  if (daysBetween(begins, last) === 0) return say(words, "window_one_day", { day, from, until });
  return say(words, "window_two_days", { day, from, until, last_day: dayWords(last, words, language, now) });
}

/** The sentence about one warning: expected then, may have come already, or how far it is where no time is known. */
export function arrivalWords(one: Times & Pick<Expected, "km">, words: Words, language: string, now: number): string {
  const km = kmWords(one.km);
  if (one.earliest === null) return say(words, "arrival_unknown", { km });
  const window = windowWords(one, words, language, now);
  return say(words, one.probable !== null && one.probable < now ? "arrival_past" : "arrival", { window, km });
}

/** Tenths of a kilometre matter near by; far away they would only feign exactness. */
export function kmWords(km: number): string {
  return km < 9.95 ? Math.max(0.1, km).toFixed(1) : String(Math.round(km));
}

function hourBefore(moment: Date): Date {
  const whole = new Date(moment);
  whole.setMinutes(0, 0, 0);
  return whole;
}

function clock(moment: Date): string {
  const two = (number: number): string => String(number).padStart(2, "0");
  return `${two(moment.getHours())}:${two(moment.getMinutes())}`;
}

function dayWords(day: Date, words: Words, language: string, now: number): string {
  const named = group(words, "days")[String(daysBetween(new Date(now), day))];
  if (named) return named;
  if (language !== "en") return `${day.getMonth() + 1}月${day.getDate()}日`;
  return `${day.getDate()} ${new Intl.DateTimeFormat("en-US", { month: "short" }).format(day)}`;
}

/** Calendar days of the viewer; a day on which the clocks change is one, too. */
function daysBetween(one: Date, other: Date): number {
  const of = (moment: Date): number => Date.UTC(moment.getFullYear(), moment.getMonth(), moment.getDate());
  return Math.round((of(other) - of(one)) / DAY_MS);
}
