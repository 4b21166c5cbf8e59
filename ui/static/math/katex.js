// Formulas as KaTeX draws them: without commands that link, load or define, bounded in time and size, and sanitised.

import "../vendor/katex/katex.js";
import "../vendor/purify.js";
import { el } from "../dom.js";

const SLICE = 12; // ms of drawing before the page has its turn
const MOST = 400; // formulas that are remembered
const LARGEST = 300_000; // characters of what KaTeX makes of one
const DEEPEST = 40; // brackets and environments within each other
const REFUSED =
  /\\(?:href|url|includegraphics|html(?:Class|Id|Style|Data)|[gex]?def|(?:global)?(?:let|long)|futurelet|(?:re)?newcommand|providecommand)(?![A-Za-z])/;

const OPTIONS = { throwOnError: false, errorColor: "#d33", strict: "ignore", trust: false, maxExpand: 500, maxSize: 20 };

const ALLOWED = {
  ALLOWED_TAGS: (
    "#text span svg path line math semantics mrow mi mo mn ms mtext mspace mfrac msqrt mroot msub msup msubsup munder mover " +
    "munderover mtable mtr mtd mlabeledtr mstyle mpadded mphantom menclose"
  ).split(" "),
  ALLOWED_ATTR: (
    "class style d viewBox preserveAspectRatio width height x1 x2 y1 y2 stroke-width xmlns display accent accentunder " +
    "columnalign columnlines columnspacing depth displaystyle fence largeop linebreak linethickness lspace mathbackground " +
    "mathcolor mathsize mathvariant maxsize minsize notation rowlines rowspacing rspace scriptlevel separator stretchy " +
    "valign voffset"
  ).split(" "),
  ALLOW_DATA_ATTR: false,
  ADD_FORBID_CONTENTS: ["annotation"], // the source, once more
  RETURN_DOM_FRAGMENT: true,
};
const LENGTH = "-?[\\d.]+(?:em|ex|pt|px|%)?";
const COLOUR = "(?:#[\\da-f]+|[a-z]+)";
const STYLE = new RegExp(
  `^(?:(?:height|width|min-width|top|bottom|left|vertical-align|(?:margin|padding)(?:-\\w+)?|border(?:-\\w+)?-width): ?` +
    `(?:${LENGTH}(?: ${LENGTH})?|calc\\(100% [-+] [\\d.]+em\\))|(?:color|background-color|border-color): ?${COLOUR}|` +
    `border: ?[\\d.]+em solid ${COLOUR}|border(?:-right)?-style: ?(?:solid|dashed)|position: ?relative|text-shadow: ?[\\d. empx]+)$`,
  "i",
);

const purify = window.DOMPurify(window); // one for formulas alone, so that text gains nothing by what they may
purify.addHook("uponSanitizeAttribute", (node, data) => {
  if (data.attrName !== "style") return;
  const styles = data.attrValue.split(";").map((one) => one.trim());
  data.attrValue = styles.filter((one) => STYLE.test(one)).join(";");
});

await stylesheet(new URL("../vendor/katex/katex.css", import.meta.url));

const drawn = new Map(); // the formula -> what is shown, or why it is not drawn
const waiting = [];
let timer = 0;

/** places: {node, tex, display}. What was drawn before is there at once, the rest when the page has time. */
export function draw(places) {
  for (const place of places) {
    if (drawn.has(key(place))) show(place);
    else waiting.push(place);
  }
  if (!timer) work();
}

function work() {
  timer = 0;
  const began = performance.now();
  while (waiting.length && performance.now() - began < SLICE) show(waiting.shift());
  if (waiting.length) timer = setTimeout(work);
}

function show(place) {
  const name = key(place);
  const made = drawn.get(name) ?? make(place);
  drawn.delete(name);
  drawn.set(name, made); // the one used last is forgotten last
  if (drawn.size > MOST) drawn.delete(drawn.keys().next().value);
  if (made.refused) {
    place.node.classList.add("refused");
    place.node.title = made.refused;
  } else {
    place.node.replaceChildren(made.shown.cloneNode(true));
  }
}

const key = ({ tex, display }) => `${display ? "$$" : "$"}${tex}`;

function make({ tex, display }) {
  const command = REFUSED.exec(tex);
  if (command) return { refused: `A formula on this page may not use ${command[0]}.` };
  if (depth(tex) > DEEPEST) return { refused: "This formula is too deeply nested to be drawn." };
  try {
    const html = window.katex.renderToString(mended(tex), { ...OPTIONS, displayMode: display, macros: {} });
    if (html.length > LARGEST) return { refused: "This formula is too large to be drawn." };
    const shown = purify.sanitize(html, ALLOWED);
    const error = shown.querySelector(".katex-error");
    if (error) return { refused: "KaTeX cannot read this formula." };
    if (!display) for (const base of shown.querySelectorAll(".katex-html > .katex-base")) frame(base);
    return { shown };
  } catch {
    return { refused: "KaTeX cannot read this formula." };
  }
}

function depth(tex) {
  let [now, most] = [0, 0];
  for (const [mark] of tex.matchAll(/\\(?:left|begin|right|end)(?![A-Za-z])|\\[\s\S]|[{}]/g)) {
    if (/^(?:\{|\\left|\\begin)$/.test(mark)) most = Math.max(most, ++now);
    else if (/^(?:\}|\\right|\\end)$/.test(mark)) now--;
  }
  return most;
}

/** What cannot be broken scrolls in a frame of its own, and nothing reaches out of it over the page. */
function frame(base) {
  const node = el("span", { class: "math-part" });
  base.replaceWith(node);
  node.append(base);
}

/** TeX as it was meant: % is a sign, words may have _, and a label is for a document. */
function mended(tex) {
  return tex
    .replace(/\\label\s*\{[^{}]*\}/g, "")
    .replace(/\n[ \t]*(?=\n)/g, "")
    .replace(tex.includes("\n") ? /(\d)%/g : /((?:^|[^\\])(?:\\\\)*)%/g, "$1\\%")
    .replace(/(\\(?:text(?:bf|it|rm|sf|tt|md|up|normal)?|mbox)\s*\{)([^{}]*)\}/g, (_, open, words) => `${open}${words.replace(/(^|[^\\])([_#&])/g, "$1\\$2")}}`);
}

function stylesheet(href) {
  return new Promise((resolve, reject) => {
    document.head.append(el("link", { rel: "stylesheet", href, on: { load: resolve, error: reject } }));
  });
}
