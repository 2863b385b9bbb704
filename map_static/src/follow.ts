/** The follow page: this browser may be told of each step, where web push works. */

const part = document.getElementById("push");
const form = part?.querySelector<HTMLFormElement>("[data-push-form]");
if (part && form && "serviceWorker" in navigator && "PushManager" in window && "Notification" in window) offer(part, form);

function offer(part: HTMLElement, form: HTMLFormElement): void {
  part.hidden = false;
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void subscribe(part, form);
  });
}

async function subscribe(part: HTMLElement, form: HTMLFormElement): Promise<void> {
  try {
    if ((await Notification.requestPermission()) !== "granted") throw new Error("denied");
    const { pushManager } = await navigator.serviceWorker.ready;
    const options = { userVisibleOnly: true, applicationServerKey: part.dataset.key ?? "" };
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
    form.submit();
  } catch {
    const said = part.querySelector("[data-push-said]");
    if (said) said.textContent = part.dataset.refused ?? "";
  }
}
