import { describe, expect, test } from "vitest";

import { faultsOf } from "../src/report/checks";
import { faultOf } from "../src/report/photos";
import { newKey, readOutcome } from "../src/report/send";
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
    expect(faultsOf({ ...filled, lat: "91", isConfirmed: false }).map(([field]) => field)).toEqual(["lat", "place_confirmed"]);
  });
});

describe("the server's answer", () => {
  test("201 is received", () => {
    expect(readOutcome(201, '{"follow_url": "/f/abc", "code": "K7"}')).toEqual({ kind: "received", followUrl: "/f/abc" });
  });

  test("4xx is refused, with the field's codes, and not tried again", () => {
    const body = '{"detail": "没有看懂", "errors": {"photo": ["photo_too_large"]}}';
    expect(readOutcome(413, body)).toEqual({ kind: "refused", detail: "没有看懂", codes: { photo: ["photo_too_large"] } });
    expect(readOutcome(429, "<html>")).toEqual({ kind: "refused", detail: "", codes: {} });
  });

  test("5xx, no answer and a captive portal's page may succeed later", () => {
    for (const [status, body] of [[503, ""], [0, ""], [200, "<html>登录 WiFi</html>"]] as const) {
      expect(readOutcome(status, body)).toEqual({ kind: "failed" });
    }
  });
});

test("a key is a random UUID of version 4, as the server demands", () => {
  expect(newKey()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(newKey()).not.toBe(newKey());
});

test("a sentence's places are filled, unknown ones stay visible", () => {
  expect(fill("{name}，{metres} 米，{x}", { name: "长江", metres: 5 })).toBe("长江，5 米，{x}");
});
