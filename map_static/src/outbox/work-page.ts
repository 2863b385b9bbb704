/** How a page has the work done: by a worker, or by itself where the browser has no workers of that kind. */

import type { Challenge } from "./challenge";

export async function solveBeside(challenge: Challenge): Promise<string | null> {
  try {
    return await askWorker(challenge);
  } catch {
    const { solve } = await import("./work");
    return solve(challenge);
  }
}

function askWorker(challenge: Challenge): Promise<string | null> {
  const worker = new Worker(new URL("./work-worker.ts", import.meta.url), { type: "module" });
  return new Promise<string | null>((resolve, reject) => {
    worker.addEventListener("message", (event: MessageEvent<string | null>) => resolve(event.data));
    worker.addEventListener("error", () => reject(new Error("no worker")));
    worker.postMessage(challenge);
  }).finally(() => worker.terminate());
}
