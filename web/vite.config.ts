import { defineConfig } from "vite";

const api = process.env.INTIMA_API ?? "http://127.0.0.1:8000";
const ours = ["/v1", "/v2", "/livez", "/readyz", "/openapi.json", "/docs"];

export default defineConfig({
  build: {
    outDir: "../services/api/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 2000,
    rolldownOptions: { input: { index: "index.html", docs: "docs.html" } },
  },
  // The api refuses pages of other origins; the Host header stays the page's own.
  server: { proxy: Object.fromEntries(ours.map((path) => [path, { target: api, changeOrigin: false }])) },
});
