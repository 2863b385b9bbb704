/** Quiet colours of ground and water for day and night; the warning colours are the same in both. */

export interface Palette {
  readonly ground: string;
  readonly river: string;
  readonly lake: string;
  readonly lakeLine: string;
  readonly halo: string;
  readonly label: string;
  readonly place: string;
  readonly zone: string;
  readonly ink: string;
}

const DAY: Palette = {
  ground: "#f4f3ee",
  river: "#93b4c8",
  lake: "#cfe0ea",
  lakeLine: "#a9c6d7",
  halo: "#f4f3ee",
  label: "#3b6178",
  place: "#6d6a60",
  zone: "#2e7d5b",
  ink: "#22343f",
};

const NIGHT: Palette = {
  ground: "#131c21",
  river: "#3d6379",
  lake: "#233c49",
  lakeLine: "#37596c",
  halo: "#131c21",
  label: "#9fc1d3",
  place: "#a3a094",
  zone: "#6fbf9a",
  ink: "#e4ebee",
};

const NIGHT_QUERY = "(prefers-color-scheme: dark)";

export function currentPalette(): Palette {
  return matchMedia(NIGHT_QUERY).matches ? NIGHT : DAY;
}

/** Call back whenever the viewer changes between day and night. */
export function onPaletteChange(callback: (palette: Palette) => void): void {
  // addListener: Safari 14's lists have no addEventListener on older systems.
  matchMedia(NIGHT_QUERY).addListener(() => callback(currentPalette()));
}
