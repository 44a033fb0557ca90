import { vitePreprocess } from "@sveltejs/vite-plugin-svelte";

export default {
  preprocess: vitePreprocess(),
  compilerOptions: {
    // Elements are made one by one: no innerHTML, so that the page lives under
    // require-trusted-types-for 'script' without a policy.
    fragments: "tree",
    runes: true,
  },
};
