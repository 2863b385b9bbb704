/** The quick exit: what this site keeps on the phone is removed, and another page takes the place of this one. */

import { DATABASE } from "./outbox/store";

const EXIT = "/leave";
/** A key whose passing tells the site's other pages. */
const LEFT = "left";
/** What takes longer goes on without being waited for. */
const HEARD_MS = 500;
const FORGOTTEN_MS = 3000;
const REACHED_MS = 5000;

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
    if (event.key === LEFT) void leave();
  });
}

/** Whether the person is on their way out: whatever else the page had in hand, it opens, asks and keeps nothing any more. */
export function isLeaving(): boolean {
  return document.body.hidden === true;
}

async function leave(): Promise<void> {
  if (isLeaving()) return;
  document.body.hidden = true; // at once, whatever the rest takes
  document.title = "";
  window.stop(); // a page of ours that was just about to be opened is not
  const [isReached] = await Promise.all([within(REACHED_MS, signOut), forget()]);
  location.replace(isReached ? (document.documentElement.dataset.elsewhere ?? EXIT) : "about:blank");
}

/**
 * Ask the server to sign out and to let the browser forget, which a script cannot; true once it has answered. Where
 * nobody answers there is no way elsewhere either, only the browser's own page about it.
 */
async function signOut(): Promise<boolean> {
  await fetch(EXIT, { redirect: "manual", cache: "no-store", keepalive: true });
  return true;
}

async function forget(): Promise<void> {
  for (const duty of [() => localStorage.setItem(LEFT, ""), () => localStorage.clear(), () => sessionStorage.clear(), forgetCookies]) {
    await within(0, duty);
  }
  await within(HEARD_MS, stopWorkers); // before what they might write anew
  await Promise.all([within(FORGOTTEN_MS, unregister), within(FORGOTTEN_MS, forgetFiles), within(FORGOTTEN_MS, forgetReports)]);
}

/** What a duty gives, unless it takes longer or this browser cannot do it: it keeps nothing there either. */
async function within<T>(milliseconds: number, duty: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await Promise.race([duty(), new Promise<undefined>((resolve) => setTimeout(resolve, milliseconds))]);
  } catch {
    return undefined;
  }
}

async function unregister(): Promise<void> {
  await Promise.all((await navigator.serviceWorker.getRegistrations()).map((one) => one.unregister()));
}

async function forgetFiles(): Promise<void> {
  await Promise.all((await caches.keys()).map((name) => caches.delete(name)));
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
