import { defineConfig } from "vite";

// Where `npm run dev` finds a running Talkshot server; the built page talks to the origin that served it.
const server = process.env["TALKSHOT_SERVER"] ?? "http://127.0.0.1:8080";
const routes = ["/avatars", "/jobs", "/sessions", "/whep", "/whip", "/voices", "/healthz"];

export default defineConfig({
  base: "./",
  server: { proxy: Object.fromEntries(routes.map((route) => [route, { target: server, ws: true }])) },
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // no data: URLs, so that the page runs under a strict content security policy
    modulePreload: { polyfill: false },
  },
  worker: { format: "es" },
});
