/** MapLibre's worker as a file of our own: the content policy allows no blob worker. */

import "./old-browsers";
import "maplibre-gl/dist/maplibre-gl-worker.mjs";
