import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

// What the service worker keeps: the page, its scripts and styles. The version
// is their content's hash, so that it changes with them and with nothing else.
function shell(): Plugin {
  return {
    name: "grima-shell",
    generateBundle(_, bundle) {
      const sw = bundle["sw.js"];
      if (sw?.type !== "chunk") throw new Error("no sw.js in the bundle");
      const files = Object.keys(bundle).filter((f) => f.startsWith("assets/")).sort();
      const hash = createHash("sha256");
      for (const f of files) {
        const item = bundle[f];
        if (item) hash.update(f).update(item.type === "chunk" ? item.code : item.source);
      }
      hash.update(readFileSync(here("index.html")));
      // Within strings of whatever kind the bundler made of them.
      for (const [mark, text] of [
        ["__VERSION__", hash.digest("hex").slice(0, 16)],
        ["__SHELL__", files.map((f) => "/" + f).join(" ")],
      ] as const) {
        if (sw.code.split(mark).length !== 2) throw new Error("sw.js has no " + mark + ", or more than one");
        sw.code = sw.code.replace(mark, text);
      }
    },
  };
}

// Everything that can shrink gets a .br and a .gz beside it, at the best level:
// the server only picks.
function compress(): Plugin {
  return {
    name: "grima-compress",
    apply: "build",
    closeBundle() {
      const walk = (dir: string) => {
        for (const name of readdirSync(dir)) {
          const path = join(dir, name);
          if (statSync(path).isDirectory()) walk(path);
          else if (/\.(js|css|html|svg|webmanifest|json)$/.test(name)) {
            const data = readFileSync(path);
            if (data.length < 512) continue;
            writeFileSync(path + ".br", brotliCompressSync(data, {
              params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: data.length },
            }));
            writeFileSync(path + ".gz", gzipSync(data, { level: 9 }));
          }
        }
      };
      walk(here("dist"));
    },
  };
}

// The one file of dist that is committed, so that Go has something to embed
// before there is a page; Vite empties the directory first.
function keep(): Plugin {
  return {
    name: "grima-keep",
    apply: "build",
    closeBundle() {
      writeFileSync(here("dist/.gitignore"), "*\n!.gitignore\n");
    },
  };
}

export default defineConfig({
  plugins: [svelte(), shell(), compress(), keep()],
  resolve: { alias: { "@grima/sdk": here("../sdk/ts/src/index.ts") } },
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // nothing as data:, which the page's policy refuses
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rollupOptions: {
      input: { main: here("index.html"), sw: here("src/sw.ts") },
      output: {
        entryFileNames: (chunk) => (chunk.name === "sw" ? "sw.js" : "assets/[name]-[hash].js"),
      },
    },
  },
});
