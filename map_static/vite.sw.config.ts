import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

import { defineConfig } from "vite";

const here = import.meta.dirname;
const dist = resolve(here, "dist");

interface Chunk {
  readonly file: string;
  readonly css?: readonly string[];
  readonly imports?: readonly string[];
}

/** The files a page's entries load before anybody does anything: what must be there without a network. */
function filesOf(entries: readonly string[]): string[] {
  const manifest = JSON.parse(readFileSync(resolve(dist, ".vite/manifest.json"), "utf8")) as Record<string, Chunk>;
  const found = new Set<string>();
  const add = (name: string): void => {
    const chunk = manifest[name];
    if (!chunk || found.has(chunk.file)) return;
    for (const file of [chunk.file, ...(chunk.css ?? [])]) found.add(file);
    for (const imported of chunk.imports ?? []) add(imported);
  };
  for (const entry of entries) add(entry);
  // What a chosen photo says of itself is read without a network, too.
  for (const name of Object.keys(manifest)) if (name.includes("exifreader")) add(name);
  return [...found, "icon.svg"];
}

const precache = filesOf(["src/site.css", "src/page.ts", "src/report.ts"]).map((file) => ({
  url: `/static/${file}`,
  revision: file.startsWith("assets/") ? null : createHash("sha256").update(readFileSync(resolve(dist, file))).digest("hex").slice(0, 16),
}));

/** The service worker: one file without imports, after everything else is built, because it names it. */
export default defineConfig({
  base: "/static/",
  define: { __PRECACHE__: JSON.stringify(precache), "process.env.NODE_ENV": '"production"' },
  publicDir: false,
  build: {
    target: ["chrome87", "safari14"],
    emptyOutDir: false,
    lib: { entry: resolve(here, "src/sw.ts"), formats: ["iife"], name: "serviceWorker", fileName: () => "sw.js" },
  },
});
