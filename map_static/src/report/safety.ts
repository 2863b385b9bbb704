/** Before the camera opens, once on each phone: how to stay safe. The button of the answer is the camera's own. */

const SEEN = "safety-seen";

export function guardCamera(dialog: HTMLDialogElement | null, inputs: readonly HTMLInputElement[]): void {
  if (!dialog || typeof dialog.showModal !== "function") return; // the same words stand on the page
  document.getElementById("safety")?.remove();
  const again = document.querySelector<HTMLElement>("[data-show-safety]");
  if (again) {
    again.hidden = false;
    again.addEventListener("click", () => dialog.showModal());
  }
  let wanted: HTMLInputElement | null = null;
  for (const input of inputs) {
    input.addEventListener("click", (event) => {
      if (hasSeen()) return;
      event.preventDefault();
      wanted = input;
      dialog.showModal();
    });
  }
  dialog.querySelector("[data-understood]")?.addEventListener("click", () => {
    try {
      localStorage.setItem(SEEN, "yes");
    } catch {
      dialog.dataset.seen = "yes"; // a browser that keeps nothing shows it once a page
    }
    dialog.close();
    wanted?.click();
  });

  function hasSeen(): boolean {
    try {
      return localStorage.getItem(SEEN) === "yes" || dialog?.dataset.seen === "yes";
    } catch {
      return dialog?.dataset.seen === "yes";
    }
  }
}
