/** My reports: those whose receipts are kept on this phone are offered to the account, one tap each. */

import { openStore } from "./outbox/store";

const part = document.getElementById("on-this-phone");
const form = document.querySelector<HTMLFormElement>("form#keep");
if (part && form) void offer(part, form);

async function offer(part: HTMLElement, form: HTMLFormElement): Promise<void> {
  const shown = new Set([...document.querySelectorAll<HTMLAnchorElement>(".my-report a")].map((link) => link.pathname));
  const receipts = (await (await openStore()).all()).flatMap((report) => (report.receipt ? [report.receipt] : []));
  const left = receipts.filter((receipt) => !shown.has(new URL(receipt.followUrl).pathname));
  part.querySelector("ul")?.append(...left.map((receipt) => row(receipt, part.dataset.keep ?? "", form)));
  part.hidden = left.length === 0;
}

function row(receipt: { readonly code: string; readonly followUrl: string }, words: string, form: HTMLFormElement): HTMLElement {
  const item = Object.assign(document.createElement("li"), { className: "list-row" });
  const name = Object.assign(document.createElement("span"), { className: "list-name code", textContent: receipt.code });
  const button = Object.assign(document.createElement("button"), { type: "button", className: "button", textContent: words });
  button.addEventListener("click", () => {
    (form.elements.namedItem("token") as HTMLInputElement).value = new URL(receipt.followUrl).pathname;
    form.submit();
  });
  item.append(name, button);
  return item;
}
