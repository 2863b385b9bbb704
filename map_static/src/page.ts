/** Small things every page may ask for by attribute. Loaded on every page, so it stays small. */

import { isLeaving, offerExit } from "./leave";
import { keepFresh } from "./refresh";

const YEAR_S = 365 * 86_400;

document.documentElement.classList.add("script");

function keepTimeZone(): void {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) document.cookie = `tz=${encodeURIComponent(zone)};path=/;max-age=${YEAR_S};samesite=lax${secureSuffix()}`;
}

function secureSuffix(): string {
  return location.protocol === "https:" ? ";secure" : "";
}

function watchNetwork(): void {
  const bar = document.getElementById("offline");
  if (!bar) return;
  const show = (): void => {
    bar.hidden = navigator.onLine;
  };
  addEventListener("online", show);
  addEventListener("offline", show);
  show();
}

function offerCopy(part: ParentNode): void {
  for (const button of part.querySelectorAll<HTMLElement>("[data-copy]")) {
    // The clipboard exists on secure origins only; elsewhere the button stays as the server left it.
    if (!("clipboard" in navigator)) continue;
    button.hidden = false;
    button.addEventListener("click", () => {
      void navigator.clipboard.writeText(button.dataset.copy ?? "").then(() => {
        const before = button.textContent;
        button.textContent = button.dataset.copied ?? "✓";
        setTimeout(() => (button.textContent = before), 2500);
      });
    });
  }
}

function guardForms(): void {
  document.addEventListener("submit", (event) => {
    const form = event.target as HTMLFormElement;
    const question = form.dataset.confirm;
    if (question && !confirm(question)) {
      event.preventDefault();
      return;
    }
    if ("submitOnce" in form.dataset) {
      if (form.dataset.submitted) event.preventDefault();
      form.dataset.submitted = "yes";
    }
  });
  // A page that comes back from the browser's memory may be sent again.
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll<HTMLFormElement>("form[data-submit-once]")) delete form.dataset.submitted;
  });
}

/** Once the page itself is there: what the phone keeps of it must not make the first visit slower. */
function keepForLater(): void {
  if (!("serviceWorker" in navigator)) return;
  addEventListener("load", () => {
    if (!isLeaving()) void navigator.serviceWorker.register("/sw.js").catch(() => undefined);
  });
}

keepTimeZone();
offerExit();
keepForLater();
watchNetwork();
offerCopy(document);
guardForms();
keepFresh(offerCopy);
document.querySelector<HTMLElement>("[data-focus]")?.focus();
