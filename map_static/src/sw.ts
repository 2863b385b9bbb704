/**
 * The service worker: the report page opens without a network, and what was kept is sent when it returns, also when no
 * page is open. Pages behind a secret link or a sign-in never enter a cache.
 */

import { cleanupOutdatedCaches, precacheAndRoute } from "workbox-precaching";
import { registerRoute } from "workbox-routing";
import { CacheFirst, NetworkFirst } from "workbox-strategies";

import { FetchStack } from "./outbox/fetch-stack";
import { CHANNEL, flush, SYNC_TAG } from "./outbox/sender";
import { openStore } from "./outbox/store";
import { solve } from "./outbox/work";

declare const self: ServiceWorkerGlobalScope;
/** Filled in at build time: what the report page needs, with the hashes of its content. */
declare const __PRECACHE__: ReadonlyArray<{ readonly url: string; readonly revision: string | null }>;
/** Likewise: what a map needs. Half a megabyte, so it is kept only once a map was opened on this phone. */
declare const __MAP_FILES__: readonly string[];

const PAGES = "pages";
const MAP = "map";
const ASSETS = "assets";
const PIECE_CACHE = "map-pieces";
/** Some megabytes at most: a piece is a tile of a few kilobytes. */
const PIECES = 400;
const MANIFEST = "/published/map.json";
const REPORT_PAGE = "/report";
const SLOW_S = 4;

/** Somebody left by the quick exit: from then on this worker keeps nothing and sends nothing. */
let hasLeft = false;
const UNLESS_LEFT = { cacheWillUpdate: async ({ response }: { readonly response: Response }) => (hasLeft || response.status !== 200 ? null : response) };

cleanupOutdatedCaches();
precacheAndRoute([...__PRECACHE__]);
registerRoute(
  ({ request, url }) => request.mode === "navigate" && (url.pathname === REPORT_PAGE || url.pathname === "/"),
  new NetworkFirst({
    cacheName: PAGES,
    networkTimeoutSeconds: SLOW_S,
    matchOptions: { ignoreSearch: true, ignoreVary: true },
    // A page made for somebody who signed in says "no-store", and is not kept.
    // Nor is one in the language of a link that somebody sent: that was for one visit.
    plugins: [{ cacheWillUpdate: async ({ request, response }) => (!hasLeft && response.ok && !new URL(request.url).searchParams.has("lang") && !/no-store/.test(response.headers.get("Cache-Control") ?? "") ? response : null) }],
  }),
);
registerRoute(
  ({ url }) => url.pathname === MANIFEST,
  new NetworkFirst({
    cacheName: MAP,
    networkTimeoutSeconds: SLOW_S,
    // What was withdrawn is named no more, and does not stay on the phone either.
    plugins: [UNLESS_LEFT, { cacheDidUpdate: async ({ newResponse }) => hasLeft ? undefined : forgetOldMap(await caches.open(MAP), (await newResponse.clone().json()) as Record<string, unknown>) }],
  }),
);
registerRoute(({ url }) => url.pathname.startsWith("/published/") && url.pathname.endsWith(".pmtiles"), ({ request }) => piece(request));
registerRoute(({ url }) => /^\/published\/(?:[\w-]+\/)?[^/]+\.[0-9a-f]{8,}\.json$/.test(url.pathname), new CacheFirst({ cacheName: MAP, plugins: [UNLESS_LEFT] }));
registerRoute(({ url }) => url.pathname.startsWith("/static/assets/"), new CacheFirst({ cacheName: ASSETS, plugins: [UNLESS_LEFT] }));

self.addEventListener("install", (event) => {
  event.waitUntil(
    Promise.all([
      self.skipWaiting(),
      caches.open(PAGES).then((cache) => cache.add(new Request(REPORT_PAGE, { cache: "reload" }))).catch(() => undefined),
    ]),
  );
});
self.addEventListener("activate", (event) => {
  // Who leaves while it is being installed has nothing left of it either.
  event.waitUntil(hasLeft ? forgetAll() : Promise.all([self.clients.claim(), forgetOldAssets()]));
});
self.addEventListener("message", (event) => {
  const said = event.data as { left?: boolean; keep?: string; ranges?: readonly Range[] } | null;
  if (said?.left) {
    hasLeft = true;
    event.ports[0]?.postMessage(null);
  }
  if (said?.keep === MAP) event.waitUntil(keepMap(said.ranges ?? []).catch(() => undefined));
});

/**
 * Keep all that a map is drawn from: its code, the waters as last published, and the pieces of the archive that were looked
 * at. What the page loaded before this worker ruled it has passed no cache of ours. Files of earlier publications go.
 */
async function keepMap(ranges: readonly Range[]): Promise<void> {
  if (hasLeft) return;
  const [assets, map] = await Promise.all([caches.open(ASSETS), caches.open(MAP)]);
  await Promise.all(__MAP_FILES__.map((url) => keep(assets, url)));
  await Promise.all(ranges.slice(-PIECES).map(({ url, range }) => piece(new Request(url, { headers: { Range: range } }))));
  const answer = await fetch(MANIFEST, { cache: "no-cache", credentials: "omit" });
  if (!answer.ok) return;
  await map.put(MANIFEST, answer.clone());
  const manifest = (await answer.json()) as Record<string, unknown>;
  await Promise.all([manifest.levels, manifest.expected, manifest.incidents].filter(Boolean).map((name) => keep(map, whole(name))));
  await forgetOldMap(map, manifest);
}

/** The address of a file by its name in the manifest. */
function whole(name: unknown): string {
  return new URL(String(name), new URL(MANIFEST, self.location.origin)).href;
}

interface Range {
  readonly url: string;
  readonly range: string;
}

/**
 * A piece of the archive, which never changes. A cache takes no partial answers, so each piece is kept as a whole one under
 * an address of its own.
 */
async function piece(request: Request): Promise<Response> {
  const range = request.headers.get("Range");
  if (!range || hasLeft) return fetch(request);
  const cache = await caches.open(PIECE_CACHE);
  const address = `${request.url}?${range}`;
  const kept = await cache.match(address);
  if (kept) return new Response(kept.body, { status: 206, headers: kept.headers });
  const answer = await fetch(request);
  if (answer.status === 206 && !hasLeft) {
    const copy = answer.clone();
    await cache.put(address, new Response(copy.body, { headers: { "Content-Type": "application/octet-stream" } })).catch(() => undefined);
    const keys = await cache.keys();
    for (const old of keys.slice(0, Math.max(0, keys.length - PIECES))) await cache.delete(old);
  }
  return answer;
}

/** Of what lies in the caches, only what this publication names is of use; of the past and of details as much as was seen. */
async function forgetOldMap(map: Cache, manifest: Record<string, unknown>): Promise<void> {
  if (hasLeft) return;
  const index = (await (await map.match(whole(manifest.incidents)))?.json()) as { tiles?: Record<string, string> } | undefined;
  const named = [manifest.levels, manifest.expected, manifest.incidents, ...Object.values(index?.tiles ?? {}), ...Object.values(manifest.history ?? {})].filter(Boolean).map(whole);
  const current = new Set([whole(MANIFEST), ...named]);
  for (const request of await map.keys()) if (!current.has(request.url)) await map.delete(request);
  if (hasLeft) return;
  const pieces = await caches.open(PIECE_CACHE);
  const archive = whole(manifest.tiles);
  for (const request of await pieces.keys()) if (!request.url.startsWith(`${archive}?`)) await pieces.delete(request);
}

async function keep(cache: Cache, url: string): Promise<void> {
  if (!hasLeft && !(await cache.match(url))) await cache.add(url);
}

/** Code of an earlier build that nothing asks for any more. */
async function forgetOldAssets(): Promise<void> {
  const cache = await caches.open(ASSETS);
  const current = new Set(__MAP_FILES__);
  for (const request of await cache.keys()) if (!current.has(new URL(request.url).pathname)) await cache.delete(request);
}

async function forgetAll(): Promise<void> {
  for (const name of await caches.keys()) await caches.delete(name);
}

interface SyncEvent extends ExtendableEvent {
  readonly tag: string;
}

self.addEventListener("sync", (event) => {
  const sync = event as SyncEvent;
  if (sync.tag === SYNC_TAG) sync.waitUntil(sendKept());
});

/** Rejects while something is left, so that the browser tries again later by itself. */
async function sendKept(): Promise<void> {
  if (hasLeft) throw new Error("whoever kept it has left");
  const channel = "BroadcastChannel" in self ? new BroadcastChannel(CHANNEL) : null;
  const outcome = await flush(await openStore(), {
    httpStack: new FetchStack(),
    solve,
    isOver: () => hasLeft,
    onChecking: (checking) => channel?.postMessage({ checking }),
    onProgress: (progress) => channel?.postMessage({ progress }),
    onChange: (changed) => channel?.postMessage({ changed }),
  });
  channel?.close();
  if (outcome === "later") throw new Error("not everything could be sent");
}

interface Told {
  readonly title?: string;
  readonly url?: string;
}

/** One sentence that tells nothing to whoever looks at the screen; the words come encrypted, from our server alone. */
self.addEventListener("push", (event) => {
  let told: Told = {};
  try {
    told = (event.data?.json() ?? {}) as Told;
  } catch {
    return; // not from us
  }
  if (!told.title) return;
  event.waitUntil(self.registration.showNotification(told.title, { tag: told.url ?? "report", icon: "/static/icon-192.png", data: told.url ?? "/" }));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const address = new URL(String(event.notification.data), self.location.origin);
  if (address.origin === self.location.origin) event.waitUntil(self.clients.openWindow(address.href).then(() => undefined));
});
