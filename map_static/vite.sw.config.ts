import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { gzipSync } from "node:zlib";

import { defineConfig, type Plugin } from "vite";

const here = import.meta.dirname;
const dist = resolve(here, "dist");

interface Chunk {
  readonly file: string;
  readonly css?: readonly string[];
  readonly assets?: readonly string[];
  readonly imports?: readonly string[];
}

/** The files that parts of the build load before anybody does anything: they, what they import, styles, workers. */
function filesOf(...parts: readonly string[]): string[] {
  const manifest = JSON.parse(readFileSync(resolve(dist, ".vite/manifest.json"), "utf8")) as Record<string, Chunk>;
  const found = new Set<string>();
  const add = (name: string): void => {
    const chunk = manifest[name];
    if (!chunk) throw new Error(`the build has no ${name}: the service worker would keep too little`);
    if (found.has(chunk.file)) return;
    for (const file of [chunk.file, ...(chunk.css ?? []), ...(chunk.assets ?? [])]) found.add(file);
    for (const imported of chunk.imports ?? []) add(imported);
  };
  for (const part of parts) add(part);
  return [...found];
}

// What a chosen photo says of itself is read without a network, too.
const page = filesOf("src/site.css", "src/page.ts", "src/report.ts", "node_modules/exifreader/src/exif-reader.js");
const precache = [...page, "icon.svg"].map((file) => ({
  url: `/static/${file}`,
  revision: file.startsWith("assets/") ? null : createHash("sha256").update(readFileSync(resolve(dist, file))).digest("hex").slice(0, 16),
}));

const map = filesOf("src/map.ts", "src/map/open.ts", "src/map/live.ts", "src/map/known.ts").map((file) => `/static/${file}`);

const PACKED = /\.(js|css|svg)$/;

/** A gzip twin beside everything that gains by it: no server packs a megabyte of script anew for each phone. */
function pack(): Plugin {
  return {
    name: "pack",
    closeBundle() {
      for (const path of readdirSync(dist, { recursive: true, encoding: "utf8" })) {
        if (PACKED.test(path)) writeFileSync(resolve(dist, `${path}.gz`), gzipSync(readFileSync(resolve(dist, path)), { level: 9 }));
      }
    },
  };
}

/** The service worker: one file without imports, after everything else is built, because it names it. */
export default defineConfig({
  base: "/static/",
  define: { __PRECACHE__: JSON.stringify(precache), __MAP_FILES__: JSON.stringify(map), "process.env.NODE_ENV": '"production"' },
  publicDir: false,
  plugins: [pack()],
  build: {
    target: ["chrome87", "safari14"],
    emptyOutDir: false,
    lib: { entry: resolve(here, "src/sw.ts"), formats: ["iife"], name: "serviceWorker", fileName: () => "sw.js" },
  },
});
