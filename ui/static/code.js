// Code with colours and a copy button.

import highlighter from "./vendor/highlight/core.js";
import bash from "./vendor/highlight/bash.js";
import diff from "./vendor/highlight/diff.js";
import json from "./vendor/highlight/json.js";
import python from "./vendor/highlight/python.js";
import yaml from "./vendor/highlight/yaml.js";
import { button, el, icon } from "./dom.js";

/** Diagrams are shown as what was written: to draw them would take more than the whole page. */
const mermaid = () => ({
  keywords:
    "graph flowchart subgraph end direction style classDef sequenceDiagram participant actor as loop alt else opt par note over " +
    "classDiagram class stateDiagram state erDiagram gantt title section pie journey gitGraph commit branch merge mindmap timeline",
  contains: [
    { scope: "comment", begin: /%%/, end: /$/ },
    { scope: "string", begin: /"/, end: /"/, illegal: /\n/ },
    { scope: "symbol", begin: /[<ox]?(?:-{2,}|={2,}|-\.+-?)(?:>{1,2}|[ox])?/ },
  ],
});

for (const [name, grammar] of Object.entries({ bash, diff, json, mermaid, python, yaml })) {
  highlighter.registerLanguage(name, grammar);
}

const LONGEST = 60_000; // characters that are coloured

/** HTML of the code, escaped; in colours when the language is known. */
export function highlighted(code, language) {
  const known = highlighter.getLanguage(language ?? "") && code.length <= LONGEST;
  return known ? highlighter.highlight(code, { language, ignoreIllegals: true }).value : escaped(code);
}

function escaped(text) {
  const node = document.createElement("span");
  node.textContent = text;
  return node.innerHTML;
}

export function codeBlock(code, language = "python") {
  const shown = el("code", { class: "hljs" });
  shown.innerHTML = highlighted(code, language); // made by us from text
  return el("div", { class: "code" }, copyButton(() => code), el("pre", { tabindex: "0" }, shown));
}

export function copyButton(text) {
  const node = button(icon("copy"), () => copy(), { class: "copy", "aria-label": "Copy", title: "Copy" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text());
      node.classList.add("done");
      setTimeout(() => node.classList.remove("done"), 1500);
    } catch {
      node.title = "This browser does not let the page copy here.";
    }
  };
  return node;
}
