/** The page on which a report is corrected: the map for a new place opens only when somebody asks for it. */

import { Candidates } from "./report/candidates";
import { PlacePicker } from "./report/place";
import { readWords } from "./words";

const form = document.querySelector<HTMLFormElement>("form#correct");
if (form) offerMoving(form);

function offerMoving(form: HTMLFormElement): void {
  const words = readWords(form);
  const fieldset = document.getElementById("candidates") as HTMLFieldSetElement;
  const candidates = new Candidates(fieldset, "/api/v1/waters/nearest", words);
  // Other incidents nearby were offered when the report was made; here they would only distract.
  const picker = new PlacePicker(form, candidates, { ask: () => undefined, clear: () => undefined }, words);
  const part = document.getElementById("move") as HTMLDetailsElement;
  const open = (): void => {
    if (part.open) void picker.open();
  };
  part.addEventListener("toggle", open);
  open();
}
