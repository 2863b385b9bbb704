import { describe, expect, test } from "vitest";

import { faultsOf } from "../src/report/checks";
import { faultOf } from "../src/report/photos";
import { coarse } from "../src/report/last-area";
import { fit } from "../src/report/shrink";
import { isWorthRetrying, verdictOf } from "../src/outbox/sender";
import { takenAt } from "../src/report/evidence";
import { collect } from "../src/report/fields";
import { newKey } from "../src/report/key";
import { fill } from "../src/words";

describe("a photo", () => {
  const limits = { maxBytes: 1000, maxCount: 2 };
  const photo = { name: "a.jpg", size: 10, type: "image/jpeg" };

  test("of the right kind and size is taken", () => {
    expect(faultOf(photo, 1, limits)).toBeNull();
    expect(faultOf({ ...photo, name: "IMG_1.HEIC", type: "" }, 0, limits)).toBeNull();
  });

  test("is refused with the reason", () => {
    expect(faultOf({ ...photo, type: "video/mp4" }, 0, limits)).toBe("photo_not_image");
    expect(faultOf({ ...photo, name: "a.exe", type: "" }, 0, limits)).toBe("photo_not_image");
    expect(faultOf({ ...photo, size: 0 }, 0, limits)).toBe("photo_empty");
    expect(faultOf({ ...photo, size: 1001 }, 0, limits)).toBe("photo_too_large");
    expect(faultOf(photo, 2, limits)).toBe("photo_too_many");
  });
});

describe("a form before sending", () => {
  const filled = { photos: 1, kind: "foam", lon: "114.3", lat: "30.5", isConfirmed: true };

  test("with everything has no fault", () => {
    expect(faultsOf(filled)).toEqual([]);
  });

  test("names everything that is missing at once, in the order of the form", () => {
    const faults = faultsOf({ photos: 0, kind: "", lon: "", lat: "", isConfirmed: false });
    expect(faults.map(([, code]) => code)).toEqual(["photo_missing", "place_missing", "kind_missing"]);
    const inWords = faultsOf({ ...filled, lon: "", lat: "", placeWords: "三号桥下" });
    expect(inWords).toEqual([["place", "place_missing_words"]]);
    expect(faultsOf({ ...filled, lat: "91", isConfirmed: false }).map(([field]) => field)).toEqual(["lat", "place_confirmed"]);
  });
});

describe("the server's answer to a report", () => {
  test("201 is received", () => {
    expect(verdictOf(201, { follow_url: "https://a.example/f/abc", code: "K7" })).toBe("received");
  });

  test("a refusal of ours is not tried again by itself", () => {
    expect(verdictOf(400, { code: "invalid", errors: { lon: ["lon_malformed"] } })).toBe("refused");
    expect(verdictOf(409, { code: "photo_taken" })).toBe("refused");
    expect(verdictOf(404, { code: "photo_unknown" })).toBe("photos_forgotten");
  });

  test("trouble of ours, too many at once, and a captive portal's page may pass", () => {
    for (const [status, body] of [[503, { code: "unavailable" }], [429, { code: "x" }], [200, {}], [403, {}]] as const) {
      expect(verdictOf(status, body)).toBe("later");
    }
  });
});

test("an upload goes on after everything but a refusal", () => {
  expect([0, 200, 409, 423, 500, 503].map(isWorthRetrying)).not.toContain(false);
  expect([400, 404, 410, 412, 413, 429].map(isWorthRetrying)).not.toContain(true);
});

describe("what the form sends", () => {
  const form = (fields: Record<string, string>): FormData => {
    const data = new FormData();
    for (const [name, value] of Object.entries(fields)) data.append(name, value);
    return data;
  };

  test("is typed as the interface wants it", () => {
    const fields = { kind: "foam", lon: "114°18′20″", lat: "30.5928", smell: "2", ph: "6,5", ongoing: "no", note: " ", csrf_token: "x", place_confirmed: "yes" };
    expect(collect(form(fields), "zh-Hans")).toEqual({
      language: "zh-Hans", kind: "foam", lon: 114 + 18 / 60 + 20 / 3600, lat: 30.5928, smell: 2, ph: 6.5, ongoing: false, place_confirmed: true,
    });
  });

  test("keeps what is no number, for the server to name, and confirms no place that is not there", () => {
    expect(collect(form({ ph: "sour", place_confirmed: "yes" }), "en")).toEqual({ language: "en", ph: "sour" });
  });
});

test("a photo is made smaller only as far as anybody would see", () => {
  expect(fit(4000, 3000)).toEqual({ width: 2560, height: 1920 });
  expect(fit(3000, 4000)).toEqual({ width: 1920, height: 2560 });
  expect(fit(8000, 1500)).toEqual({ width: 5120, height: 960 }); // a panorama keeps its height
  expect(fit(1000, 10)).toEqual({ width: 1000, height: 10 });
});

test("the camera's time is read with its offset, or without", () => {
  expect(takenAt("2026:05:20 10:30:00", "+08:00")).toBe("2026-05-20T10:30:00+08:00");
  expect(takenAt("2026:05:20 10:30:00", "")).toBe("2026-05-20T10:30:00");
  expect(takenAt("0000:00:00 00:00:00", "")).toBeNull();
  expect(takenAt("yesterday", "")).toBeNull();
});

test("a key is a random UUID of version 4, as the server demands", () => {
  expect(newKey()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(newKey()).not.toBe(newKey());
});

test("a sentence's places are filled, unknown ones stay visible", () => {
  expect(fill("{name}，{metres} 米，{x}", { name: "长江", metres: 5 })).toBe("长江，5 米，{x}");
});

describe("the map's last area", () => {
  test("is kept coarsely, and not at all when it is half a country", () => {
    expect(coarse([114.288, 30.549, 114.312, 30.561])).toEqual([114.2, 30.5, 114.4, 30.6]);
    expect(coarse([-0.05, -0.05, 0.05, 0.05])).toEqual([-0.1, -0.1, 0.1, 0.1]);
    expect(coarse([100, 20, 106, 26])).toBeNull();
  });
});
