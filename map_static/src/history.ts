/** The past of a place as its page tells it: columns of weeks. */

import type { Words } from "./words";

export interface Columns {
  /** The Mondays' first instants in China, seconds since 1970. */
  readonly seconds: number[];
  /** 0 (no warning) to 4. */
  readonly levels: number[];
  readonly reports: number[];
}

const CHINA_OFFSET = "+08:00";

/** The columns inside an element; null where there are none, or they do not fit together. */
export function readColumns(frame: ParentNode): Columns | null {
  const text = frame.querySelector("script[data-columns]")?.textContent;
  if (!text) return null;
  const { mondays = [], levels = [], reports = [] } = JSON.parse(text) as { mondays?: string[]; levels?: number[]; reports?: number[] };
  if (mondays.length === 0 || levels.length !== mondays.length || reports.length !== mondays.length) return null;
  return { seconds: mondays.map((day) => Date.parse(`${day}T00:00:00${CHINA_OFFSET}`) / 1000), levels, reports };
}

/** A list of words such as the names of the levels. */
export function listOf(words: Words, key: string): readonly string[] {
  const found = words[key];
  return Array.isArray(found) ? found.map(String) : [];
}
