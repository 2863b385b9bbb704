/** What MapLibre takes for granted and web views of Chromium 87–92 (X5 among them) lack. Nothing where it exists. */

function define(target: object, name: string, value: unknown): void {
  if (!(name in target)) Object.defineProperty(target, name, { value, writable: true, configurable: true });
}

function at(this: ArrayLike<unknown>, index: number): unknown {
  const whole = Math.trunc(index) || 0;
  return this[whole < 0 ? this.length + whole : whole];
}

define(Array.prototype, "at", at);
define(String.prototype, "at", at);
define(Object.getPrototypeOf(Uint8Array.prototype) as object, "at", at);
define(Object, "hasOwn", (object: object, key: PropertyKey) => Object.prototype.hasOwnProperty.call(object, key));

export {};
