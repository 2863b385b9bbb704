import { describe, expect, it } from "vitest";

import { withContact, withoutContact } from "../src/outbox/contact";

const FIELDS = { kind: "foam", contact_email: "wang@example.org", contact_by_mail: true } as const;

describe("a contact", () => {
  it("is told in an object of its own", () => {
    expect(withContact(FIELDS)).toEqual({ kind: "foam", contact: { email: "wang@example.org", by_mail: true } });
  });

  it("is not told where neither address nor number was given, whatever was ticked", () => {
    expect(withContact({ kind: "foam", contact_by_mail: true, contact_may_ask: true })).toEqual({ kind: "foam" });
  });

  it("allows no mail that was not ticked", () => {
    expect(withContact({ contact_phone: "027 8888 8888", contact_may_ask: true })).toEqual({ contact: { phone: "027 8888 8888", by_mail: false, may_ask: true } });
  });

  it("does not stay on the phone", () => {
    expect(withoutContact(FIELDS)).toEqual({ kind: "foam" });
  });
});
