/** How old what is shown is, in words: beside the live map and beside the drawn one. */

import { isStale, type Manifest } from "../published";
import { say, type Words } from "../words";
import { ageOf, localTime } from "./frame";

export interface Age {
  readonly text: string;
  /** Older than promised, of another day, or without a network: to be seen at once. */
  readonly isNoteworthy: boolean;
}

/** `day`: the day of the past that is shown, or null. `now` in milliseconds. */
export function ageIn(words: Words, manifest: Pick<Manifest, "generated_at" | "stale_after_s">, day: string | null, now = Date.now()): Age {
  const generated = manifest.generated_at;
  const [unit, count] = ageOf(generated, now);
  const values = { time: localTime(generated), age: say(words, `age_${unit}`, { count }), day: day ?? "" };
  const key = day !== null ? "past" : !navigator.onLine ? "offline" : isStale(manifest, now) ? "stale" : "updated";
  return { text: say(words, key, values), isNoteworthy: key !== "updated" };
}
