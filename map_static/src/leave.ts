/** The quick exit: what this site keeps on the phone is removed, and another page takes the place of this one. */

import { DATABASE } from "./outbox/store";

export function offerExit(): void {
  for (const button of document.querySelectorAll<HTMLElement>("[data-quick-exit]")) {
    button.hidden = false;
    button.addEventListener("click", (event) => {
      event.preventDefault();
      document.body.hidden = true; // at once, whatever the rest takes
      void forget().finally(() => location.replace("/leave"));
    });
  }
}

async function forget(): Promise<void> {
  const duties = [
    () => localStorage.clear(),
    () => sessionStorage.clear(),
    () => void indexedDB.deleteDatabase(DATABASE),
    async () => Promise.all((await caches.keys()).map((name) => caches.delete(name))),
    async () => Promise.all((await navigator.serviceWorker.getRegistrations()).map((one) => one.unregister())),
  ];
  for (const duty of duties) {
    try {
      await duty();
    } catch {
      continue; // a browser without it keeps nothing there either
    }
  }
}
