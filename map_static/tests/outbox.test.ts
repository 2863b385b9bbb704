import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { flush } from "../src/outbox/sender";
import { MemoryStore, type KeptReport } from "../src/outbox/store";

function waiting(key: string): KeptReport {
  return { key, savedAt: 1, state: "waiting", fields: { kind: "foam" }, photos: [], faults: {}, receipt: null };
}

/** A server that takes every report, after `meanwhile`. */
function taking(meanwhile: () => Promise<void> = async () => undefined): string[] {
  const taken: string[] = [];
  vi.stubGlobal("fetch", async (_url: string, { body }: { body: string }) => {
    taken.push((JSON.parse(body) as { idempotency_key: string }).idempotency_key);
    await meanwhile();
    return new Response(JSON.stringify({ code: "A", follow_url: "https://x.example/f/a" }), { status: 201 });
  });
  return taken;
}

describe("sending", () => {
  beforeEach(() => vi.stubGlobal("navigator", {})); // none that has locks
  afterEach(() => vi.unstubAllGlobals());

  test("sends what waits and keeps the receipt", async () => {
    const store = new MemoryStore();
    const taken = taking();
    await store.put(waiting("a"));
    expect(await flush(store)).toBe("empty");
    expect(taken).toEqual(["a"]);
    expect((await store.get("a"))?.receipt?.code).toBe("A");
  });

  test("sends nothing that is removed before its turn", async () => {
    const store = new MemoryStore();
    const taken = taking(() => store.remove("b"));
    await store.put(waiting("a"));
    await store.put(waiting("b"));
    expect(await flush(store)).toBe("empty");
    expect(taken).toEqual(["a"]);
  });

  test("does not write over what is taken back into the form meanwhile", async () => {
    const store = new MemoryStore();
    taking(() => store.put({ ...waiting("a"), state: "incomplete" }));
    await store.put(waiting("a"));
    const changed = vi.fn();
    await flush(store, { onChange: changed });
    expect((await store.get("a"))?.state).toBe("incomplete");
    expect(changed).not.toHaveBeenCalled();
  });

  test("stops when whoever sends has left", async () => {
    const store = new MemoryStore();
    let hasLeft = false;
    const taken = taking(async () => {
      hasLeft = true;
    });
    for (const key of ["a", "b", "c"]) await store.put(waiting(key));
    await flush(store, { isOver: () => hasLeft });
    expect(taken).toEqual(["a"]);
  });

  test("needs no locks where the browser refuses them", async () => {
    const store = new MemoryStore();
    const taken = taking();
    vi.stubGlobal("navigator", { locks: { request: () => Promise.reject(new DOMException("no", "SecurityError")) } });
    await store.put(waiting("a"));
    expect(await flush(store)).toBe("empty");
    expect(taken).toEqual(["a"]);
  });
});
