/**
 * Sends what is kept, from the page or from the service worker: photos first, resumably (tus 1.0), then the report that
 * names them. Two of them at once do no harm: the server knows a report by its key.
 */

import { Upload, type DetailedError, type HttpStack } from "tus-js-client";

import { isChallenge, type Challenge } from "./challenge";
import { withContact, withoutContact } from "./contact";
import type { KeptPhoto, KeptReport, Store } from "./store";

export const UPLOADS = "/api/v1/uploads";
export const REPORTS = "/api/v1/reports";
export const SYNC_TAG = "outbox";
export const CHANNEL = "waterwatch-outbox";

const LOCK = "waterwatch-outbox";
/** Pauses before a photo is continued, in milliseconds; progress begins them anew. The first
 * lets the server take in what had passed before the line broke. After the last, the next occasion counts. */
const RETRY_MS = [500, 1000, 2000, 4000, 8000, 16_000, 30_000];
/** The worker's requests tell nothing of their progress, so it sends in pieces. */
const WORKER_PIECE_BYTES = 512 * 1024;

export interface Progress {
  readonly key: string;
  /** 0 to 1 of all the report's bytes. */
  readonly share: number;
}

export interface Means {
  readonly httpStack?: HttpStack;
  readonly onProgress?: (progress: Progress) => void;
  /** A kept report changed: sent, refused, or one photo further. */
  readonly onChange?: (key: string) => void;
  /** Does the work a challenge asks for and gives the header that shows it, or null. */
  readonly solve?: (challenge: Challenge) => Promise<string | null>;
  /** Whether whoever sends is to stop. */
  readonly isOver?: () => boolean;
  /** The server has asked for work, which is being done. */
  readonly onChecking?: (key: string) => void;
}

/** What a round left behind: nothing, something to be tried later, or somebody else was at it. */
export type Outcome = "empty" | "later" | "busy";

/** Send everything that waits, oldest first. Never rejects: a broken network is an outcome. */
export async function flush(store: Store, means: Means = {}): Promise<Outcome> {
  if (!("locks" in navigator)) return flushAlone(store, means);
  try {
    return await navigator.locks.request(LOCK, { ifAvailable: true }, (lock) => (lock ? flushAlone(store, means) : ("busy" as const)));
  } catch {
    return flushAlone(store, means); // a browser told to keep nothing of a site refuses its locks, too
  }
}

/** Once nobody sends any more. */
export async function whenFree(): Promise<void> {
  await navigator.locks.request(LOCK, () => undefined);
}

async function flushAlone(store: Store, means: Means): Promise<Outcome> {
  try {
    for (const report of await store.all()) {
      if (report.state !== "waiting" || !(await goesOn(store, report, means))) continue;
      if ((report.notBefore ?? 0) > Date.now() || !(await sendReport(store, report, means))) return "later";
    }
    return "empty";
  } catch {
    return "later";
  }
}

/** Whether it is settled: received or refused. False: try again at the next occasion. */
async function sendReport(store: Store, report: KeptReport, means: Means): Promise<boolean> {
  const total = report.photos.reduce((sum, photo) => sum + photo.blob.size, 0) || 1;
  let before = 0;
  for (const photo of report.photos) {
    const from = before;
    const tell = (sent: number): void => means.onProgress?.({ key: report.key, share: (from + sent) / total });
    if (!photo.isUploaded) {
      if (!(await goesOn(store, report, means))) return true;
      const failure = await uploadPhoto(photo, means, tell, () => store.update(report));
      if (failure === "later") return false;
      if (failure) return settle(store, report, "refused", { photo: [failure] }, means);
      photo.isUploaded = true;
      if (!(await store.update(report))) return true;
    }
    before += photo.blob.size;
    tell(photo.blob.size);
  }
  return (await goesOn(store, report, means)) ? postReport(store, report, means) : true;
}

/** Not with what was removed or taken back into the form meanwhile, and not for whoever left in a hurry. */
async function goesOn(store: Store, report: KeptReport, means: Means): Promise<boolean> {
  return !means.isOver?.() && (await store.waits(report));
}

/** Null when all of it arrived; "later" when the line failed; else the server's code. */
function uploadPhoto(photo: KeptPhoto, means: Means, tell: (sent: number) => void, keep: () => Promise<unknown>): Promise<string | null> {
  return new Promise((resolve) => {
    const upload = new Upload(photo.blob, {
      endpoint: UPLOADS,
      uploadUrl: photo.uploadUrl,
      retryDelays: RETRY_MS,
      storeFingerprintForResuming: false,
      ...(means.httpStack ? { httpStack: means.httpStack, chunkSize: WORKER_PIECE_BYTES } : {}),
      onShouldRetry: (error) => isWorthRetrying(statusOf(error)) && navigator.onLine,
      onUploadUrlAvailable: () => {
        photo.uploadUrl = upload.url;
        void keep();
      },
      onProgress: tell,
      onSuccess: () => {
        photo.uploadUrl = upload.url;
        resolve(null);
      },
      onError: (error) => {
        const status = statusOf(error as DetailedError);
        resolve(isWorthRetrying(status) || status === 429 ? "later" : codeOf(error as DetailedError));
      },
    });
    upload.start();
  });
}

async function postReport(store: Store, report: KeptReport, means: Means): Promise<boolean> {
  const photos = report.photos.map((photo) => ({
    id: (photo.uploadUrl ?? "").split("/").at(-1) ?? "",
    ...(photo.evidence?.lon != null && photo.evidence.lat != null ? { lon: photo.evidence.lon, lat: photo.evidence.lat } : {}),
    ...(photo.evidence?.takenAt ? { taken_at: photo.evidence.takenAt } : {}),
  }));
  const text = JSON.stringify({ ...withContact(report.fields), idempotency_key: report.key, observed_at: new Date(report.savedAt).toISOString(), photos });
  let { answer, body } = await post(text);
  if (answer.status === 428 && means.solve && isChallenge(body.challenge)) {
    means.onChecking?.(report.key);
    const solution = await means.solve(body.challenge);
    if (solution === null) return false;
    if (!(await goesOn(store, report, means))) return true;
    ({ answer, body } = await post(text, solution));
  }
  const verdict = verdictOf(answer.status, body);
  if (verdict === "received") {
    report.receipt = { code: String(body.code), followUrl: String(body.follow_url) };
    report.photos = []; // the server has them
    report.fields = withoutContact(report.fields);
    return settle(store, report, "sent", {}, means);
  }
  if (verdict === "photos_forgotten") {
    // It waited so long that the server forgot its photos: they are still here.
    for (const photo of report.photos) Object.assign(photo, { uploadUrl: null, isUploaded: false });
    await store.update(report);
    return false;
  }
  if (verdict === "later") {
    const afterS = answer.status === 429 ? Number(answer.headers.get("Retry-After")) : 0;
    if (afterS > 0) {
      report.notBefore = Date.now() + afterS * 1000;
      await store.update(report);
    }
    return false;
  }
  const faults = (body.errors as Record<string, string[]> | undefined) ?? { "": [String(body.code)] };
  return settle(store, report, "refused", faults, means);
}

interface Answered {
  readonly answer: Response;
  readonly body: Readonly<Record<string, unknown>>;
}

async function post(text: string, solution?: string): Promise<Answered> {
  const headers = { "Content-Type": "application/json", "X-WaterWatch": "web", ...(solution ? { "Work-Solution": solution } : {}) };
  const answer = await fetch(REPORTS, { method: "POST", headers, body: text, credentials: "omit" });
  return { answer, body: (await answer.json().catch(() => ({}))) as Record<string, unknown> };
}

/** What an answer to a report means. Only our own refusals refuse: a captive portal's page says nothing of the report. */
export function verdictOf(status: number, body: Readonly<Record<string, unknown>>): "received" | "refused" | "photos_forgotten" | "later" {
  if (status === 201 && typeof body.follow_url === "string") return "received";
  if (status < 400 || status >= 500 || status === 428 || status === 429 || typeof body.code !== "string") return "later";
  return status === 404 && body.code === "photo_unknown" ? "photos_forgotten" : "refused";
}

async function settle(store: Store, report: KeptReport, state: "sent" | "refused", faults: KeptReport["faults"], means: Means): Promise<true> {
  Object.assign(report, { state, faults });
  if (await store.update(report)) means.onChange?.(report.key);
  return true;
}

/** No answer, somebody else's answer, a busy upload, a wrong offset and the server's own troubles pass; refusals do not. */
export function isWorthRetrying(status: number): boolean {
  return status < 400 || status === 409 || status === 423 || status >= 500;
}

function statusOf(error: DetailedError | Error): number {
  return "originalResponse" in error ? (error.originalResponse?.getStatus() ?? 0) : 0;
}

function codeOf(error: DetailedError | Error): string {
  try {
    const body = JSON.parse(("originalResponse" in error ? error.originalResponse?.getBody() : "") || "{}") as { code?: string; errors?: Record<string, string[]> };
    return Object.values(body.errors ?? {})[0]?.[0] ?? body.code ?? "photo_refused";
  } catch {
    return "photo_refused";
  }
}
