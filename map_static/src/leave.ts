/** The quick exit: what this site keeps on the phone is removed, and another page takes the place of this one. */

import { DATABASE } from "./outbox/store";

/** A key whose passing tells the site's other pages. */
const LEFT = "left";

export function offerExit(): void {
  for (const button of document.querySelectorAll<HTMLElement>("[data-quick-exit]")) {
    button.hidden = false;
    button.addEventListener("click", (event) => {
      event.preventDefault();
      vanish();
      void forget().finally(goElsewhere);
    });
  }
  // What lies open in another tab would tell as much.
  addEventListener("storage", (event) => {
    if (event.key !== LEFT || isLeaving()) return;
    vanish();
    goElsewhere();
  });
}

/** Whether the person is on their way out: whatever else the page had in hand, it opens nothing and asks nothing any more. */
export function isLeaving(): boolean {
  return document.body.hidden === true;
}

/** At once, whatever the rest takes. A page of ours that was just about to be opened is not. */
function vanish(): void {
  document.body.hidden = true;
  window.stop();
}

/** Where no network is, the browser would name this site in saying so. */
function goElsewhere(): void {
  location.replace(navigator.onLine ? "/leave" : "about:blank");
}

async function forget(): Promise<void> {
  const duties = [
    () => localStorage.setItem(LEFT, ""),
    () => localStorage.clear(),
    () => sessionStorage.clear(),
    async () => Promise.all((await navigator.serviceWorker.getRegistrations()).map((one) => one.unregister())),
    async () => Promise.all((await caches.keys()).map((name) => caches.delete(name))),
    () => forgetReports(),
  ];
  for (const duty of duties) {
    try {
      await duty();
    } catch {
      continue; // a browser without it keeps nothing there either
    }
  }
}

/** Until it is done, or until somebody holds the reports open who does not give way: then once they close. */
function forgetReports(): Promise<void> {
  return new Promise((resolve) => {
    const deleting = indexedDB.deleteDatabase(DATABASE);
    for (const end of ["success", "error", "blocked"]) deleting.addEventListener(end, () => resolve());
  });
}
