/** Small still maps of one water or one place, on the pages of waters and incidents. */

import { boundsOf } from "./geometry";
import { canDrawMaps, clearFrame, showMessage, whenNear } from "./map/frame";
import { toRank } from "./levels";
import { readPublished } from "./published";

const CLOSEST_ZOOM = 9;
const EDGE_PX = 36;

async function start(frame: HTMLElement): Promise<void> {
  const unavailable = frame.dataset.unavailable ?? "";
  if (!canDrawMaps()) {
    showMessage(frame, unavailable);
    return;
  }
  try {
    await draw(frame);
  } catch {
    showMessage(frame, unavailable);
  }
}

async function draw(frame: HTMLElement): Promise<void> {
  const [published, { Marker, openMap }] = await Promise.all([
    readPublished(frame.dataset.manifest ?? "/published/manifest.json"),
    import("./map/open"),
  ]);
  const wanted = new Set((frame.dataset.featureIds ?? "").split(",").filter(Boolean).map(Number));
  const focus = published.waters.features.filter((feature) => wanted.has(feature.properties.feature_id));
  const rank = toRank(frame.dataset.rank);
  const levelled = new Set(published.levels.map(([id]) => id));
  // The page may be newer than the published files: what it says of its own water counts until they agree.
  const levels = levelled.size > 0 && [...wanted].some((id) => levelled.has(id))
    ? published.levels
    : [...published.levels, ...[...wanted].map((id) => [id, rank] as const)];
  const place = frame.dataset.lon && frame.dataset.lat ? ([Number(frame.dataset.lon), Number(frame.dataset.lat)] as const) : null;
  const bounds = boundsOf(focus);
  const view = place && focus.length === 0 ? { center: [...place] as [number, number], zoom: CLOSEST_ZOOM } : {};
  const map = await openMap(
    frame,
    { waters: published.waters, levels, incidents: null, language: frame.dataset.language ?? "zh-Hans" },
    { map_label: frame.dataset.label ?? "" },
    {
      ...(bounds ? { bounds: [...bounds] as [number, number, number, number], fitBoundsOptions: { padding: EDGE_PX, maxZoom: CLOSEST_ZOOM } } : {}),
      ...view,
      interactive: false,
    },
  );
  if (place) new Marker({ color: "#22343f" }).setLngLat([...place]).addTo(map);
  clearFrame(frame);
  frame.dataset.ready = "yes";
}

for (const frame of document.querySelectorAll<HTMLElement>("[data-mini-map]")) whenNear(frame, () => void start(frame));
