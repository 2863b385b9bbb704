/** The quick exit: what this site keeps on the phone is removed, and another page takes the place of this one. */

import { DATABASE } from "./outbox/store";

const EXIT = "/leave";
/** A key whose passing tells the site's other pages. */
const LEFT = "left";
/** What takes longer is left undone by the page; the exit's answer clears the rest where the browser knows how to. */
const DUTY_MS = 500;
const REACHED_MS = 2000;

export function offerExit(): void {
  for (const button of document.querySelectorAll<HTMLElement>("[data-quick-exit]")) {
    button.hidden = false;
    button.addEventListener("click", (event) => {
      event.preventDefault();
      void leave();
    });
  }
  // What lies open in another tab would tell as much.
  addEventListener("storage", (event) => {
    if (event.key === LEFT && !isLeaving()) void leave();
  });
}

/** Whether the person is on their way out: whatever else the page had in hand, it opens, asks and keeps nothing any more. */
export function isLeaving(): boolean {
  return document.body.hidden === true;
}

async function leave(): Promise<void> {
  document.body.hidden = true; // at once, whatever the rest takes
  document.title = "";
  window.stop(); // a page of ours that was just about to be opened is not
  const [isReached] = await Promise.all([reachExit(), forget()]);
  location.replace(isReached ? EXIT : "about:blank");
}

/**
 * Whether the exit can be reached: else the browser's own page about it would name this site. Its answer signs out, too,
 * which a script cannot.
 */
async function reachExit(): Promise<boolean> {
  const waiting = new AbortController();
  setTimeout(() => waiting.abort(), REACHED_MS);
  try {
    await fetch(EXIT, { redirect: "manual", cache: "no-store", signal: waiting.signal });
    return true;
  } catch {
    return false;
  }
}

async function forget(): Promise<void> {
  const duties: readonly (() => unknown)[] = [
    () => localStorage.setItem(LEFT, ""),
    () => localStorage.clear(),
    () => sessionStorage.clear(),
    forgetCookies,
    stopWorkers, // before what they might write anew
    async () => Promise.all((await navigator.serviceWorker.getRegistrations()).map((one) => one.unregister())),
    async () => Promise.all((await caches.keys()).map((name) => caches.delete(name))),
    forgetReports,
  ];
  for (const duty of duties) {
    try {
      await Promise.race([duty(), new Promise((resolve) => setTimeout(resolve, DUTY_MS))]);
    } catch {
      continue; // a browser without it keeps nothing there either
    }
  }
}

function forgetCookies(): void {
  for (const cookie of document.cookie.split("; ")) document.cookie = `${cookie.split("=")[0]}=;path=/;max-age=0`;
}

/** Until each has heard that it keeps and sends nothing any more. */
async function stopWorkers(): Promise<void> {
  const registration = await navigator.serviceWorker.getRegistration();
  const workers = [registration?.installing, registration?.waiting, registration?.active];
  await Promise.all(workers.map((worker) => worker && stop(worker)));
}

function stop(worker: ServiceWorker): Promise<unknown> {
  const { port1, port2 } = new MessageChannel();
  const heard = new Promise((resolve) => {
    port1.onmessage = resolve;
  });
  worker.postMessage({ left: true }, [port2]);
  return heard;
}

/** Until it is done, or until somebody holds the reports open who does not give way: then once they close. */
function forgetReports(): Promise<void> {
  return new Promise((resolve) => {
    const deleting = indexedDB.deleteDatabase(DATABASE);
    for (const end of ["success", "error", "blocked"]) deleting.addEventListener(end, () => resolve());
  });
}
