// Text from models, papers and repositories as formatted text. Here alone its marks become markup.
// Three walls: raw HTML is shown as text, images become links, and what comes out is sanitised against a short list.

import { Marked } from "./vendor/marked.js";
import "./vendor/purify.js";
import { highlighted } from "./code.js";
import { el } from "./dom.js";
import { putBack, takeOut } from "./math/math.js";

const LONGEST = 200_000; // characters; longer text is shown as it is
const FORMULA = /^[\s>]*(?:\$\$|\\\[)\s*$/; // a line that opens one
const FORMULA_ENDS = /(?:\$\$|\\\])/;
const FORMULA_LINES = 60;

const escape = (text) =>
  text.replace(/[&<>"']/g, (mark) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" })[mark]);

const marked = new Marked({
  gfm: true,
  renderer: {
    html: ({ text }) => escape(text),
    image: ({ href, text }) => `<a href="${escape(href)}">${escape(text || href)}</a>`,
    code: ({ text, lang }) => `<pre><code class="${lang === "mermaid" ? "hljs hljs-diagram" : "hljs"}">${highlighted(text, lang)}</code></pre>`,
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

const purify = window.DOMPurify(window);
const ALLOWED = {
  ALLOWED_TAGS:
    "a p br hr strong em del code pre blockquote ul ol li h1 h2 h3 h4 h5 h6 table thead tbody tr th td span".split(" "),
  ALLOWED_ATTR: ["href", "class", "align", "start"],
  ADD_URI_SAFE_ATTR: ["align", "start"],
  ALLOWED_URI_REGEXP: /^https?:\/\//i,
  RETURN_DOM_FRAGMENT: true,
};
purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.hasAttribute("class") && !/^(hljs[\w-]*\s*)+$/.test(node.className)) node.removeAttribute("class");
  if (node.tagName === "A" && node.hasAttribute("href")) {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer nofollow");
  }
});

/** A fragment of formatted text. Text that is too long, or that no parser survives, comes back plain. */
export function markdown(text) {
  if (text.length > LONGEST) return plain(text);
  try {
    const { text: rest, taken } = takeOut(text);
    const fragment = purify.sanitize(marked.parse(rest), ALLOWED);
    putBack(fragment, taken);
    for (const table of fragment.querySelectorAll("table")) {
      const frame = el("div", { class: "table-frame" });
      table.replaceWith(frame);
      frame.append(table);
    }
    return fragment;
  } catch {
    return plain(text);
  }
}

function plain(text) {
  const fragment = document.createDocumentFragment();
  fragment.append(el("pre", { class: "plain" }, text));
  return fragment;
}

/**
 * Formatted text that grows. Paragraphs that are complete are left alone; only the last one is formatted again,
 * so a token costs the same at the end of a long reply as at its start.
 */
export class GrowingText {
  constructor() {
    this.node = el("div", { class: "prose" });
    this.tail = el("div");
    this.node.append(this.tail);
    this.settled = 0; // characters that are formatted for good
    this.text = "";
  }

  set(text) {
    if (text === this.text) return;
    if (!text.startsWith(this.text.slice(0, this.settled))) this.#clear();
    this.text = text;
    const end = lastBreak(text, this.settled);
    if (end > this.settled) {
      const block = el("div");
      block.append(markdown(text.slice(this.settled, end)));
      this.tail.before(block);
      this.settled = end;
    }
    this.tail.replaceChildren(markdown(text.slice(this.settled)));
  }

  /** The text is whole: format it once as one, so that lists and references across paragraphs come out right. */
  finish(text) {
    this.text = text;
    this.node.replaceChildren(markdown(text));
  }

  #clear() {
    this.node.replaceChildren(this.tail);
    this.settled = 0;
  }
}

/** Where the last paragraph begins that may still change: after the last empty line outside a fence or a formula. */
function lastBreak(text, from) {
  let fenced = false;
  let formula = 0; // lines of an open one; a formula that is too long is none
  let at = from;
  let end = from;
  for (const line of text.slice(from).split("\n")) {
    if (/^\s*(```|~~~)/.test(line)) fenced = !fenced;
    else if (!fenced) formula = formula ? (FORMULA_ENDS.test(line) ? 0 : formula + 1) : Number(FORMULA.test(line));
    at += line.length + 1;
    const open = fenced || (formula > 0 && formula < FORMULA_LINES);
    if (!open && line.trim() === "" && at <= text.length) end = at;
  }
  return end;
}
