/** Small still maps of one water or one place, on the pages of waters and incidents. */

import { canDrawMaps, clearFrame, showMessage, whenNear } from "./map/frame";
import { toRank, type Rank } from "./levels";
import { MANIFEST, readPublished, type Levels } from "./published";

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
  const [published, { Marker, openMap }, { boundsOfIds }] = await Promise.all([
    readPublished(frame.dataset.manifest ?? MANIFEST),
    import("./map/open"),
    import("./map/waters"),
  ]);
  const wanted = numbers(frame.dataset.featureIds);
  const place = frame.dataset.lon && frame.dataset.lat ? ([Number(frame.dataset.lon), Number(frame.dataset.lat)] as [number, number]) : null;
  const box = numbers(frame.dataset.bbox);
  const fit = { padding: EDGE_PX, maxZoom: CLOSEST_ZOOM };
  const { map } = await openMap(
    frame,
    { published, levels: withOwn(published.levels, wanted, toRank(frame.dataset.rank)), language: frame.dataset.language ?? "zh-Hans" },
    { map_label: frame.dataset.label ?? "" },
    {
      ...(box.length === 4 ? { bounds: box as [number, number, number, number], fitBoundsOptions: fit } : place && { center: place, zoom: CLOSEST_ZOOM }),
      interactive: false,
    },
  );
  if (box.length !== 4 && !place) {
    const found = boundsOfIds(map, wanted);
    if (found) map.fitBounds([...found] as [number, number, number, number], { ...fit, duration: 0 });
  }
  if (place) new Marker({ color: "#22343f" }).setLngLat(place).addTo(map);
  clearFrame(frame);
  frame.dataset.ready = "yes";
}

/** The page may be newer than the published files: what it says of its own water counts until they agree. */
function withOwn(levels: Levels, own: readonly number[], rank: Rank): Levels {
  if (rank === 0 || own.some((id) => levels.confirmed.has(id))) return levels;
  return { ...levels, confirmed: new Map([...levels.confirmed, ...own.map((id) => [id, rank] as const)]) };
}

function numbers(list: string | undefined): number[] {
  return (list ?? "").split(",").filter(Boolean).map(Number).filter(Number.isFinite);
}

for (const frame of document.querySelectorAll<HTMLElement>("[data-mini-map]")) whenNear(frame, () => void start(frame));
