/** The page: a static site that works from any path. */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/**
 * What the page may load: its own files. Lit and the editor write styles into elements, pictures are drawn from blobs,
 * and Remote connects to any worker that the visitor names. A worker of the page obeys the policy of its own response,
 * so the server sends the policy too.
 */
const POLICY = [
  "default-src 'self'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' blob:",
  "connect-src 'self' ws: wss:",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");
const meta = {
  tag: "meta",
  attrs: { "http-equiv": "Content-Security-Policy", content: POLICY },
  injectTo: "head-prepend",
} as const;

export default defineConfig({
  root: at("web"),
  base: "./",
  // The tokens use light-dark(), which every browser with WebGPU knows: nothing is rewritten for older ones.
  build: {
    outDir: at("web/dist"),
    emptyOutDir: true,
    target: "es2023",
    cssTarget: ["chrome123", "safari17.5", "firefox120"],
    assetsInlineLimit: 0,
    // What most views share is one chunk: several small ones would compress worse.
    rolldownOptions: { output: { codeSplitting: { groups: [{ name: "shared", minShareCount: 6 }] } } },
  },
  plugins: [{
    name: "content-security-policy",
    apply: "build",
    transformIndexHtml: () => [meta],
  }],
  // No other page may frame this one: only a header can say so.
  preview: {
    headers: { "Content-Security-Policy": `${POLICY}; frame-ancestors 'none'`, "X-Content-Type-Options": "nosniff" },
  },
  worker: { format: "es" },
  // The engine and its shaders lie beside web/.
  server: { fs: { allow: [at(".")] } },
});
