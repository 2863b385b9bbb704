/** How the author may be reached: told to the server with the report, and gone from the phone once it has it. */

import type { Field } from "./store";

const PREFIX = "contact_";

type Fields = Readonly<Record<string, Field>>;

/** The fields as the API takes them: what belongs to the contact in an object of its own, or none at all. */
export function withContact(fields: Fields): Record<string, unknown> {
  const contact: Record<string, Field> = { by_mail: false };
  for (const [name, value] of Object.entries(fields)) if (name.startsWith(PREFIX)) contact[name.slice(PREFIX.length)] = value;
  const isGiven = "email" in contact || "phone" in contact;
  return { ...withoutContact(fields), ...(isGiven ? { contact } : {}) };
}

/** What of a report may stay on the phone. */
export function withoutContact(fields: Fields): Record<string, Field> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !name.startsWith(PREFIX)));
}
