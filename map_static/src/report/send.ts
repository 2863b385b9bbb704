/** Sending with progress, and again with the same key when the network fails: sent twice is received once. */

export type Outcome =
  | { readonly kind: "received"; readonly followUrl: string }
  | { readonly kind: "refused"; readonly detail: string; readonly codes: Readonly<Record<string, readonly string[]>> }
  | { readonly kind: "failed" };

/** Waits between tries, in seconds. After the last the person decides. */
export const RETRY_AFTER_S = [2, 4, 8, 16, 30, 30, 60];

/** What a server's answer means. 5xx and no answer may succeed later; everything else will not by itself. */
export function readOutcome(status: number, body: string): Outcome {
  const parsed = parse(body);
  if (status === 201 && typeof parsed.follow_url === "string") return { kind: "received", followUrl: parsed.follow_url };
  if (status >= 400 && status < 500) {
    const codes = (parsed.errors ?? {}) as Record<string, string[]>;
    return { kind: "refused", detail: typeof parsed.detail === "string" ? parsed.detail : "", codes };
  }
  return { kind: "failed" };
}

/** One try. Never rejects: a broken network is an outcome. `onProgress` gets 0–1 of the bytes handed over. */
export function post(address: string, body: FormData, onProgress: (share: number) => void): Promise<Outcome> {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest(); // fetch tells nothing of an upload's progress
    request.open("POST", address);
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    });
    request.addEventListener("load", () => resolve(readOutcome(request.status, request.responseText)));
    for (const name of ["error", "abort", "timeout"] as const) request.addEventListener(name, () => resolve({ kind: "failed" }));
    request.send(body);
  });
}

/** Wait before a try: the given time, or until the network is back when the device knows it has none. */
export function waitToRetry(afterS: number): Promise<void> {
  return new Promise((resolve) => {
    if (navigator.onLine) setTimeout(resolve, afterS * 1000);
    else addEventListener("online", () => resolve(), { once: true });
  });
}

/** A random UUID (version 4). `crypto.randomUUID` is missing on plain http and before Chrome 92 and Safari 15.4. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

function parse(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
