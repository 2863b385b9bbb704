import { expect, test } from "vitest";

import { addressOf } from "../src/desk/below";

test("only what changes the warning is asked with, and nothing of the form's secrets", () => {
  const fields: [string, string][] = [
    ["csrf_token", "secret"], ["version", "3"], ["kind", "oil_slick"], ["severity", "3"], ["water_feature_id", "w"],
    ["join_incident_id", ""], ["departure_reason", "因为"], ["downstream", "shorten"], ["downstream_limit_km", "12"],
    ["downstream_reason", "闸门已关"], ["is_ongoing", "1"],
  ];
  expect(addressOf("/desk/1/downstream", fields)).toBe(
    "/desk/1/downstream?answer=json&kind=oil_slick&severity=3&water_feature_id=w&downstream=shorten&downstream_limit_km=12",
  );
});
