import { createChallenge, verifySolution, type Challenge, type Solution } from "altcha-lib";
import { deriveKey } from "altcha-lib/algorithms/web/pbkdf2";
import { expect, test } from "vitest";

import { isChallenge } from "../src/outbox/challenge";
import { solve } from "../src/outbox/work";
import { deviceId } from "../src/report/device";

const SECRETS = { hmacSignatureSecret: "the server's", hmacKeySignatureSecret: "and its other" };

test("the work a server asks for is done and shown in one header", async () => {
  const challenge = await createChallenge({ algorithm: "PBKDF2/SHA-256", cost: 10, counter: 23, deriveKey, ...SECRETS });
  expect(isChallenge(challenge)).toBe(true);
  const header = JSON.parse(atob((await solve(challenge)) ?? "")) as { challenge: Challenge; solution: Solution };
  expect(header.solution.counter).toBe(23);
  expect((await verifySolution({ ...header, deriveKey, ...SECRETS })).verified).toBe(true);
});

test("what is no challenge of ours is not worked on", () => {
  for (const odd of [null, "x", {}, { parameters: {} }, { parameters: { algorithm: "SCRYPT", cost: 1 } }, { parameters: { algorithm: "PBKDF2/SHA-256", cost: 1e9 } }]) {
    expect(isChallenge(odd)).toBe(false);
  }
});

class Drawer {
  readonly kept = new Map<string, string>();
  getItem(key: string): string | null {
    return this.kept.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    this.kept.set(key, value);
  }
}

test("a device keeps its number for two days and then draws another", () => {
  const drawer = new Drawer();
  const drawn = deviceId(drawer, 1_000);
  expect(drawn).toMatch(/^[0-9a-f]{32}$/);
  expect(deviceId(drawer, 1_000 + 47 * 3_600_000)).toBe(drawn);
  expect(deviceId(drawer, 1_000 + 48 * 3_600_000)).not.toBe(drawn);
});

test("a browser that keeps nothing still gets a number", () => {
  const full = { getItem: () => null, setItem: () => { throw new DOMException("full", "QuotaExceededError"); } };
  for (const drawer of [null, full]) expect(deviceId(drawer)).toMatch(/^[0-9a-f]{32}$/);
});
