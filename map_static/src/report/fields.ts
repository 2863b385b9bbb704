/** The form as the API takes it, and back again. */

import { parseCoordinate } from "../coordinates";
import type { Field } from "../outbox/store";

const NUMBERS = new Set(["smell", "accuracy_m", "device_lon", "device_lat"]);
const READINGS = new Set(["transparency_cm", "water_depth_cm", "ph", "do_mg_l", "nh3n_mg_l", "orp_mv", "temperature_c"]);
const ANSWERS = new Set(["ongoing", "dead_animals", "people_affected", "place_confirmed", "contact_by_mail", "contact_may_ask"]);
/** Hidden fields that belong to the page and the phone, not to one report. */
const LASTING = new Set(["csrf_token", "device"]);
const NOT_SENT = new Set(["photo", "csrf_token", "idempotency_key", "homepage"]);

/** What was filled in, typed as the API wants it. What is no number is left as text, for the server to name. */
export function collect(form: FormData, language: string): Record<string, Field> {
  const fields: Record<string, Field> = { language };
  for (const [name, value] of form.entries()) {
    if (typeof value !== "string" || value.trim() === "" || NOT_SENT.has(name)) continue;
    fields[name] = typed(name, value.trim());
  }
  if (!("lon" in fields && "lat" in fields)) delete fields.place_confirmed;
  return fields;
}

function typed(name: string, text: string): Field {
  if (name === "lon" || name === "lat") return parseCoordinate(text, name) ?? text;
  if (ANSWERS.has(name)) return ["yes", "on", "1", "true"].includes(text);
  if (READINGS.has(name) || NUMBERS.has(name)) {
    const number = Number(text.normalize("NFKC").replace(",", ".").replace("−", "-"));
    return Number.isFinite(number) ? number : text;
  }
  return text;
}

/** Empty the form, hidden fields included: those a reset leaves as they are, and one report's place would be the next one's. */
export function clear(form: HTMLFormElement): void {
  form.reset();
  for (const input of form.querySelectorAll<HTMLInputElement>("input[type=hidden]")) if (!LASTING.has(input.name)) input.value = "";
}

/** Put kept fields into the form's controls. */
export function fill(form: HTMLFormElement, fields: Readonly<Record<string, Field>>): void {
  for (const [name, value] of Object.entries(fields)) {
    const control = form.elements.namedItem(name);
    const text = typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
    if (control instanceof RadioNodeList) control.value = text;
    else if (control instanceof HTMLInputElement && control.type === "checkbox") control.checked = value === true;
    else if (control instanceof HTMLInputElement || control instanceof HTMLTextAreaElement || control instanceof HTMLSelectElement) control.value = text;
  }
}
