// A message's content as elements. Only text nodes come from the message, and
// addresses that markdown.ts let through. They are made by hand and not by a
// template: most of what a busy chat costs is making messages, and nothing in one
// changes by itself.
import { app } from "./app.svelte.ts";
import { copyText } from "./copy.ts";
import { onlyEmoji, parse, type Block, type Inline } from "./markdown.ts";
import { t } from "./strings.ts";
import { paths, type IconName } from "./icons.ts";

/** How an @name is shown: "me", "other", or "" for one that mentions nobody. */
export type Mentioned = (name: string) => "me" | "other" | "";

/** What stands behind the last word, as "(edited)". */
export interface Tail {
  text: string;
  title: string;
}

/** Fills a node with a message's content. */
export function draw(into: HTMLElement, content: string, mentioned: Mentioned, tail: Tail | undefined): void {
  into.classList.toggle("large", onlyEmoji(content));
  const list = parse(content);
  const all = blocks(list, mentioned);
  if (tail) {
    const last = list.at(-1)?.t === "p" ? (all.lastChild as HTMLElement) : all;
    const span = element("span", "tail");
    span.title = tail.title;
    span.textContent = tail.text;
    last.append(" ", span);
  }
  into.replaceChildren(all);
}

function element<K extends keyof HTMLElementTagNameMap>(tag: K, className?: string): HTMLElementTagNameMap[K] {
  const e = document.createElement(tag);
  if (className) e.className = className;
  return e;
}

function blocks(list: readonly Block[], mentioned: Mentioned): DocumentFragment {
  const all = document.createDocumentFragment();
  for (const b of list) all.append(block(b, mentioned));
  return all;
}

function block(b: Block, mentioned: Mentioned): HTMLElement {
  switch (b.t) {
    case "p": {
      const p = element("p");
      p.dir = "auto";
      inlines(p, b.kids, mentioned);
      return p;
    }
    case "heading": {
      const p = element("p", "heading");
      p.dir = "auto";
      inlines(p.appendChild(element("strong")), b.kids, mentioned);
      return p;
    }
    case "code":
      return code(b.lang, b.text);
    case "quote": {
      const q = element("blockquote");
      q.append(blocks(b.kids, mentioned));
      return q;
    }
    case "list": {
      const l = element(b.ordered ? "ol" : "ul");
      if (b.ordered) (l as HTMLOListElement).start = b.start;
      l.dir = "auto";
      for (const item of b.items) inlines(l.appendChild(element("li")), item, mentioned);
      return l;
    }
  }
}

function inlines(into: HTMLElement, kids: readonly Inline[], mentioned: Mentioned): void {
  for (const k of kids) {
    switch (k.t) {
      case "text":
        into.append(k.text);
        break;
      case "br":
        into.append(element("br"));
        break;
      case "code": {
        const c = into.appendChild(element("code"));
        c.dir = "ltr";
        c.textContent = k.text;
        break;
      }
      case "strong":
      case "em":
      case "del":
        inlines(into.appendChild(element(k.t)), k.kids, mentioned);
        break;
      case "link": {
        const a = into.appendChild(element("a"));
        a.href = a.title = k.href;
        a.target = "_blank";
        a.rel = "noopener noreferrer nofollow ugc";
        inlines(a, k.kids, mentioned);
        break;
      }
      case "mention": {
        const who = mentioned(k.name);
        if (who) into.appendChild(element("span", who === "me" ? "mention me" : "mention")).textContent = "@" + k.name;
        else into.append("@" + k.name);
      }
    }
  }
}

function code(lang: string, text: string): HTMLElement {
  const box = element("div", "pre");
  const pre = box.appendChild(element("pre"));
  pre.dir = "ltr";
  pre.tabIndex = 0;
  if (lang) {
    pre.setAttribute("role", "region");
    pre.setAttribute("aria-label", lang);
  }
  pre.appendChild(element("code")).textContent = text;
  const copy = box.appendChild(element("button", "copy"));
  copy.type = "button";
  copy.title = t.msg.copyCode;
  copy.setAttribute("aria-label", t.msg.copyCode);
  copy.appendChild(element("span", "idle")).appendChild(icon("copy"));
  copy.appendChild(element("span", "done")).appendChild(icon("check"));
  copy.addEventListener("click", () => {
    void copyText(text).then((ok) => {
      if (!ok) return app.toast(t.msg.notCopied);
      copy.classList.add("copied");
      setTimeout(() => copy.classList.remove("copied"), 2000);
    });
  });
  return box;
}

/** As Icon.svelte draws them. */
function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of Object.entries({ width: "17", height: "17", viewBox: "0 0 20 20", "aria-hidden": "true" })) svg.setAttribute(key, value);
  const path = svg.appendChild(document.createElementNS(svg.namespaceURI, "path"));
  for (const [key, value] of Object.entries({ d: paths[name], fill: "none", stroke: "currentColor", "stroke-width": "1.6", "stroke-linecap": "round", "stroke-linejoin": "round" })) path.setAttribute(key, value);
  return svg;
}
