/**
 * A number this phone draws for itself, so that limits and likenesses are told by the device and not by a whole
 * school's address. It says nothing of the phone or of who holds it, is drawn anew after two days, when the server has
 * forgotten it too, and goes with the quick exit.
 */

const KEY = "device";
const KEPT_MS = 48 * 3_600_000;
const SHAPE = /^([0-9a-f]{32})\.(\d+)$/;

type Drawer = Pick<Storage, "getItem" | "setItem">;

/** 32 hexadecimal digits; others at every call where the browser keeps nothing. */
export function deviceId(drawer: Drawer | null = storage(), now = Date.now()): string {
  const [, id, madeAt] = SHAPE.exec(read(drawer)) ?? [];
  const age = now - Number(madeAt);
  if (id && age >= 0 && age < KEPT_MS) return id;
  const drawn = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  try {
    drawer?.setItem(KEY, `${drawn}.${now}`);
  } catch {
    return drawn; // full, or a private window
  }
  return drawn;
}

function read(drawer: Drawer | null): string {
  try {
    return drawer?.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

function storage(): Drawer | null {
  try {
    return localStorage;
  } catch {
    return null;
  }
}
