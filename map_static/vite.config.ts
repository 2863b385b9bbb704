import { readFileSync } from "node:fs";
import { resolve } from "node:path";

import { defineConfig, type Plugin } from "vite";

const here = import.meta.dirname;
const entries = ["site.css", "page.ts", "map.ts", "report.ts", "desk.ts", "mini-map.ts"];

/** Leaflet, unbundled, for the folium pages: they name it by a fixed path beside themselves. */
function vendorLeaflet(): Plugin {
  return {
    name: "vendor-leaflet",
    generateBundle() {
      for (const name of ["leaflet.js", "leaflet.css"]) {
        const source = readFileSync(resolve(here, "node_modules/leaflet/dist", name));
        this.emitFile({ type: "asset", fileName: `vendor/${name}`, source });
      }
    },
  };
}

/** MapLibre declares its worker file free of side effects, which would leave nothing of it. */
function keepWorker(): Plugin {
  return {
    name: "keep-worker",
    transform(code, id) {
      return id.includes("maplibre-gl-worker") ? { code, map: null, moduleSideEffects: true } : null;
    },
  };
}

export default defineConfig({
  base: "/static/",
  plugins: [vendorLeaflet()],
  // Phones that are still about: X5 and other web views of Chromium 87's age, iPhones on iOS 14.
  build: {
    target: ["chrome87", "safari14"],
    cssTarget: ["chrome87", "safari14"],
    manifest: true,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1200,
    rollupOptions: { input: entries.map((name) => resolve(here, "src", name)) },
  },
  worker: { format: "es", plugins: () => [keepWorker()] },
});
