/** What a challenge looks like; apart from the work itself, which only whoever is asked for it loads. */

import type { Challenge } from "altcha-lib";

export type { Challenge };

/** Whether an answer's member is a challenge: whatever else it is, it is not worked on. */
export function isChallenge(given: unknown): given is Challenge {
  if (typeof given !== "object" || given === null) return false;
  const parameters = (given as { parameters?: { algorithm?: unknown; cost?: unknown } }).parameters;
  return parameters?.algorithm === "PBKDF2/SHA-256" && typeof parameters.cost === "number" && parameters.cost <= 1_000_000;
}
