/** A link to just this map: handed to the phone's own sharing, or copied. */

import { say } from "../words";
import type { Live } from "./live";

const SHOWN_MS = 4000;

export async function share(live: Live): Promise<void> {
  const url = live.link(live.language);
  const touch = matchMedia("(pointer: coarse)").matches;
  if (touch && typeof navigator.share === "function") {
    try {
      await navigator.share({ title: document.title, url });
      return;
    } catch (error) {
      if ((error as Error).name === "AbortError") return; // thought better of it
    }
  }
  try {
    await navigator.clipboard.writeText(url);
    tell(say(live.words, "link_copied"));
  } catch {
    tell(say(live.words, "link_by_hand"), url);
  }
}

function tell(words: string, url = ""): void {
  const status = document.getElementById("map-said");
  if (!status) return;
  status.textContent = words;
  if (url) {
    const field = Object.assign(document.createElement("input"), { className: "input", readOnly: true, value: url });
    field.setAttribute("aria-label", words);
    status.append(field);
    field.select();
    return;
  }
  setTimeout(() => (status.textContent = ""), SHOWN_MS);
}
