/** What is still missing before sending, as the server would say it (`reports/forms.py`), without the round trip. */

import { parseCoordinate } from "../coordinates";

export interface Filled {
  readonly photos: number;
  readonly kind: string;
  readonly lon: string;
  readonly lat: string;
  readonly isConfirmed: boolean;
  /** How to get there, in words: it does not stand for a place, but it is not lost either. */
  readonly placeWords?: string;
}

/** Field and code of every fault, in the order of the form. The field is the id that the summary leads to. */
export function faultsOf(filled: Filled): ReadonlyArray<readonly [field: string, code: string]> {
  const faults: [string, string][] = [];
  if (filled.photos === 0) faults.push(["photo", "photo_missing"]);
  const hasPlace = filled.lon.trim() !== "" || filled.lat.trim() !== "";
  if (!hasPlace) faults.push(["place", filled.placeWords?.trim() ? "place_missing_words" : "place_missing"]);
  else {
    if (parseCoordinate(filled.lon, "lon") === null) faults.push(["lon", "lon_bad"]);
    if (parseCoordinate(filled.lat, "lat") === null) faults.push(["lat", "lat_bad"]);
    if (!filled.isConfirmed) faults.push(["place_confirmed", "place_not_confirmed"]);
  }
  if (filled.kind === "") faults.push(["kind", "kind_missing"]);
  return faults;
}
