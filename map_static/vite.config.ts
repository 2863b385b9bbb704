import { readFileSync } from "node:fs";
import { resolve } from "node:path";

import { defineConfig, type Plugin } from "vite";

const here = import.meta.dirname;
const entries = ["site.css", "page.ts", "map.ts", "report.ts", "correct.ts", "follow.ts", "my.ts", "desk.ts", "directory.ts", "office.ts", "mini-map.ts", "water-page.ts", "api-docs.ts"];

/** Unbundled, by fixed paths: Leaflet for the folium pages, Swagger UI for the API's document. */
const VENDORED = ["leaflet/dist/leaflet.js", "leaflet/dist/leaflet.css", "swagger-ui-dist/swagger-ui.css", "swagger-ui-dist/swagger-ui-bundle.js"];

function vendor(): Plugin {
  return {
    name: "vendor",
    generateBundle() {
      for (const path of VENDORED) {
        const source = readFileSync(resolve(here, "node_modules", path));
        this.emitFile({ type: "asset", fileName: `vendor/${path.split("/").at(-1)}`, source });
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
  base: "./", // the same files serve below /static/ and beside the published map
  plugins: [vendor()],
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
