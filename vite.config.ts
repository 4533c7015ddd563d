/** The page: a static site that works from any path. */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: at("web"),
  base: "./",
  // The tokens use light-dark(), which every browser with WebGPU knows: nothing is rewritten for older ones.
  build: { outDir: at("web/dist"), emptyOutDir: true, target: "es2023", cssTarget: ["chrome123", "safari17.5", "firefox120"], assetsInlineLimit: 0 },
  worker: { format: "es" },
  // The engine and its shaders lie beside web/.
  server: { fs: { allow: [at(".")] } },
});
