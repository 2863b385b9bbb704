/** The follow page: this browser may be told of each step, where web push works. The page's parts are replaced at times. */

import { isLeaving } from "./leave";

if ("serviceWorker" in navigator && "PushManager" in window && "Notification" in window) {
  document.documentElement.classList.add("can-push");
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || !form.dataset.pushKey) return;
    event.preventDefault();
    void subscribe(form);
  });
}

async function subscribe(form: HTMLFormElement): Promise<void> {
  try {
    if ((await Notification.requestPermission()) !== "granted") throw new Error("denied");
    const { pushManager } = await navigator.serviceWorker.ready;
    if (isLeaving()) return;
    const options = { userVisibleOnly: true, applicationServerKey: form.dataset.pushKey ?? "" };
    // One that was made for another key of ours cannot be used for this one.
    const made = await pushManager.subscribe(options).catch(async () => {
      await (await pushManager.getSubscription())?.unsubscribe();
      return pushManager.subscribe(options);
    });
    const { endpoint, keys } = made.toJSON();
    for (const [name, value] of Object.entries({ endpoint, ...keys })) {
      const field = form.elements.namedItem(name);
      if (field instanceof HTMLInputElement) field.value = value ?? "";
    }
    if (!isLeaving()) form.submit();
  } catch {
    const said = form.querySelector("[role=status]");
    if (said) said.textContent = form.dataset.pushRefused ?? "";
  }
}
