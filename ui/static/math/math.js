// Formulas in text. They are taken out before Markdown reads it, so that no mark of theirs is taken for one of its own,
// and put back into what came of it; KaTeX is fetched when the first one is there.

import { el } from "../dom.js";
import { formulas } from "./marks.js";

const FIRST = 0xe000; // one private character stands for each formula
const HELD = /[\ue000-\uefff]/;

/** The text with its formulas taken out, and these. A text that has such characters of its own stays as it is. */
export function takeOut(text) {
  const taken = HELD.test(text) ? [] : formulas(text).map((one) => ({ ...one, source: text.slice(one.start, one.end) }));
  let rest = "";
  let from = 0;
  taken.forEach(({ start, end }, n) => {
    rest += text.slice(from, start) + String.fromCharCode(FIRST + n);
    from = end;
  });
  return { text: rest + text.slice(from), taken };
}

/** Put formulas where their characters stand; in code they are what was written. */
export function putBack(fragment, taken) {
  if (!taken.length) return;
  const walker = document.createTreeWalker(fragment, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) if (HELD.test(walker.currentNode.data)) nodes.push(walker.currentNode);
  const places = [];
  for (const node of nodes) {
    const inCode = node.parentElement?.closest("code");
    const parts = node.data.split(/([\ue000-\uefff])/).map((part) => {
      const one = HELD.test(part) && taken[part.charCodeAt(0) - FIRST];
      if (!one) return part;
      return inCode ? one.source : place(one, places);
    });
    node.replaceWith(...parts);
  }
  draw(places);
}

/** Text that is no Markdown, with its formulas. */
export function withFormulas(text) {
  const fragment = document.createDocumentFragment();
  const places = [];
  let from = 0;
  for (const { start, end, ...one } of formulas(text)) {
    const before = text.slice(from, start);
    fragment.append(one.display ? before.replace(/\n[ \t]*$/, "") : before, place({ ...one, source: text.slice(start, end) }, places));
    from = one.display ? end + /^[ \t]*\n?/.exec(text.slice(end))[0].length : end; // a display has lines of its own
  }
  fragment.append(text.slice(from));
  draw(places);
  return fragment;
}

function place({ source, tex, display, open }, places) {
  const node = el("span", { class: ["math", display && "display", open && "open"].filter(Boolean).join(" ") }, source);
  if (!open) places.push({ node, tex, display });
  return node;
}

let katex = null; // once it is here, formulas are drawn before anybody sees their source
let coming = null;

function draw(places) {
  if (!places.length) return;
  if (katex) return katex.draw(places);
  coming ??= import("./katex.js").then((module) => (katex = module)).catch(() => (coming = null)); // the next text tries again
  coming.then(() => katex?.draw(places));
}
