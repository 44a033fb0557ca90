// The one Trusted Types policy of the page, for the one thing that needs it: the
// address of the service worker.
const worker = "/sw.js";

interface Policy {
  createScriptURL(url: string): unknown;
}
const types = (globalThis as { trustedTypes?: { createPolicy(name: string, rules: object): Policy } }).trustedTypes;
const policy = types?.createPolicy("grima", {
  createScriptURL: (url: string) => {
    if (url !== worker) throw new TypeError("not a script of this page");
    return url;
  },
});

/** The service worker's address, in the form that this browser wants. */
export const workerURL = (policy ? policy.createScriptURL(worker) : worker) as string;
