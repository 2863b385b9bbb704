/**
 * The work a server asks for before it takes one more report from a network that has sent very many: to find the
 * counter whose derived key begins as the challenge says (ALTCHA). Some tenths of a second of a core, and nobody has to do anything.
 */

import { solveChallenge, type Challenge } from "altcha-lib";
import { deriveKey } from "altcha-lib/algorithms/web/pbkdf2";

/** Longer than the slowest phone needs, shorter than a challenge can be used. */
const GIVE_UP_MS = 120_000;

/** The header that pays for one report, or null when the work could not be done (no secure context, out of time). */
export async function solve(challenge: Challenge): Promise<string | null> {
  if (!("subtle" in crypto)) return null;
  const solution = await solveChallenge({ challenge, deriveKey, timeout: GIVE_UP_MS });
  return solution ? btoa(JSON.stringify({ challenge, solution })) : null;
}
