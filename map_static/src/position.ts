/** The device's own position, improved for a while: the first fix is often a cell tower's guess. */

export interface Fix {
  readonly lon: number;
  readonly lat: number;
  readonly accuracyM: number;
  readonly at: number;
}

export type Failure = "denied" | "unavailable";

/** Good enough to stop, and how long to go on improving after the first fix (domain rules, location evidence). */
export const ENOUGH_M = 30;
export const IMPROVE_MS = 10_000;
const FIRST_FIX_TIMEOUT_MS = 30_000;

/** The better of two fixes. A newer one of equal accuracy wins: the person may have walked to the bank. */
export function better(best: Fix | null, next: Fix): Fix {
  return best === null || next.accuracyM <= best.accuracyM ? next : best;
}

/** Whether to stop improving: accurate enough, or long enough since the first fix. */
export function isEnough(best: Fix, firstAt: number, now: number): boolean {
  return best.accuracyM <= ENOUGH_M || now - firstAt >= IMPROVE_MS;
}

/** Ask the device, report each improvement, and resolve with the best. Rejects with a {@link Failure}. */
export function locate(onImproved: (fix: Fix) => void): Promise<Fix> {
  return new Promise((resolve, reject) => {
    if (!("geolocation" in navigator)) {
      reject("unavailable" satisfies Failure);
      return;
    }
    let best: Fix | null = null;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const firstAt = { ms: 0 };
    const finish = (): void => {
      navigator.geolocation.clearWatch(watch);
      clearTimeout(timer);
      if (best) resolve(best);
      else reject("unavailable" satisfies Failure);
    };
    const watch = navigator.geolocation.watchPosition(
      (position) => {
        const next = toFix(position);
        if (!best) {
          firstAt.ms = Date.now();
          timer = setTimeout(finish, IMPROVE_MS);
        }
        best = better(best, next);
        onImproved(best);
        if (isEnough(best, firstAt.ms, Date.now())) finish();
      },
      (error) => {
        if (best) return; // one missed update among good ones
        navigator.geolocation.clearWatch(watch);
        reject(error.code === error.PERMISSION_DENIED ? "denied" : ("unavailable" satisfies Failure));
      },
      { enableHighAccuracy: true, maximumAge: 0, timeout: FIRST_FIX_TIMEOUT_MS },
    );
  });
}

function toFix(position: GeolocationPosition): Fix {
  const { longitude, latitude, accuracy } = position.coords;
  return { lon: longitude, lat: latitude, accuracyM: accuracy, at: position.timestamp };
}
