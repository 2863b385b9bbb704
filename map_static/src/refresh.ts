/** A part of the page that looks again by itself: `<div id="…" data-refresh-s="5">`. Without script, a <noscript> meta does it. */

const SLOWEST_S = 60;

type Attend = (part: ParentNode) => void;

/** `attend` makes a replaced part work again: its buttons are new ones. */
export function keepFresh(attend: Attend): void {
  const part = document.querySelector<HTMLElement>("[data-refresh-s]");
  if (part) lookAgain(part, Number(part.dataset.refreshS) || SLOWEST_S, attend);
}

function lookAgain(part: HTMLElement, wait_s: number, attend: Attend): void {
  setTimeout(() => void replace(part, wait_s, attend), wait_s * 1000);
}

async function replace(part: HTMLElement, wait_s: number, attend: Attend): Promise<void> {
  const fresh = await fetchPart(part.id);
  // Without an answer: more and more seldom. While somebody's focus is inside: not under their hands.
  if (!fresh || part.contains(document.activeElement)) {
    lookAgain(part, fresh ? wait_s : Math.min(2 * wait_s, SLOWEST_S), attend);
    return;
  }
  announce(fresh);
  part.replaceWith(fresh);
  attend(fresh);
  keepFresh(attend);
}

async function fetchPart(id: string): Promise<HTMLElement | null> {
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (!answer.ok) return null;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.getElementById(id);
    return found && document.importNode(found, true);
  } catch {
    return null; // no network just now
  }
}

/** What changed is said once: the live region stays in place, only its words change. */
function announce(fresh: HTMLElement): void {
  const said = document.querySelector<HTMLElement>("[data-refresh-said]");
  const words = fresh.dataset.refreshWords ?? "";
  if (said && said.textContent !== words) said.textContent = words;
}
