/** Place and time as the photo's file states them, read on the phone before the photo is made smaller. */

import type { Evidence } from "../outbox/store";

/** Where cameras write what they know; reading more of a large photo would only cost memory. */
const HEAD_BYTES = 256 * 1024;

/** What the file says, or null where it says nothing that can be read. Never rejects. */
export async function readEvidence(file: Blob): Promise<Evidence | null> {
  try {
    const { load } = await import("exifreader");
    const tags = load(await file.slice(0, HEAD_BYTES).arrayBuffer(), { expanded: true });
    const found = {
      lon: degreesOf(tags.gps?.Longitude, 180),
      lat: degreesOf(tags.gps?.Latitude, 90),
      takenAt: takenAt(textOf(tags.exif?.DateTimeOriginal), textOf(tags.exif?.OffsetTimeOriginal)),
    };
    const hasPlace = found.lon !== null && found.lat !== null && !(found.lon === 0 && found.lat === 0);
    const evidence = hasPlace ? found : { ...found, lon: null, lat: null };
    return evidence.lon === null && evidence.takenAt === null ? null : evidence;
  } catch {
    return null; // no metadata, or none that makes sense
  }
}

/** EXIF's `2026:05:20 10:30:00` and `+08:00` as `2026-05-20T10:30:00+08:00`; null for anything else. */
export function takenAt(time: string, offset: string): string | null {
  const match = /^(\d{4}):(\d{2}):(\d{2}) (\d{2}:\d{2}:\d{2})/.exec(time);
  if (!match || match[1] === "0000") return null;
  return `${match[1]}-${match[2]}-${match[3]}T${match[4]}${/^[+-]\d{2}:\d{2}$/.test(offset) ? offset : ""}`;
}

function degreesOf(value: number | undefined, limit: number): number | null {
  return value !== undefined && Number.isFinite(value) && Math.abs(value) <= limit ? Number(value.toFixed(6)) : null;
}

function textOf(tag: { readonly description?: unknown } | undefined): string {
  return typeof tag?.description === "string" ? tag.description : "";
}
