// An empty session: what can be asked, and when no model is there, what is missing and what works without one.

import { button, el, icon } from "../dom.js";

const TASKS = [
  ["Fine-tune a small classifier", "Fine-tune a small text classifier on stanfordnlp/imdb for under $1 and tell me its accuracy."],
  ["Reproduce a paper's table", "Read arXiv 2305.18290 and reproduce the smallest experiment of its results on 1 % of the data."],
  ["Check a dataset for leakage", "Check stanfordnlp/imdb for duplicates between its splits and tell me what that does to a reported accuracy."],
  ["Compare methods from papers", "Find recent papers on preference optimization without a reward model and compare what they report."],
];

const TYPED = [
  ["Search papers", '/papers_search query="direct preference optimization"'],
  ["See a paper's outline", '/paper_outline id="2305.18290"'],
  ["Search models", '/hub_search kind="model" query="sentence similarity"'],
  ["Look at a dataset", '/hub_info kind="dataset" id="stanfordnlp/imdb"'],
];

/** pick(text) puts an example into the composer. facts: the answer of GET sessions, null before it came. */
export function welcome(facts, pick) {
  const missing = facts && !facts.model.ready;
  const examples = missing ? TYPED : TASKS;
  return el(
    "div",
    { class: "welcome" },
    icon("flask"),
    el("h1", {}, "What should we train today?"),
    el("p", { class: "faint" }, "Reads papers, checks data, writes code, runs jobs, ships models. Nothing is spent before you say yes."),
    missing ? el("p", { class: "notice warning" }, facts.model.missing) : null,
    missing ? el("p", { class: "faint" }, "These work without a model:") : null,
    el(
      "div",
      { class: "examples" },
      examples.map(([name, text]) =>
        button([el("b", {}, name), el("span", { class: missing ? "faint mono" : "faint" }, text)], () => pick(text), { class: "example" }),
      ),
    ),
    facts && !facts.known && window !== window.top ? fullPage() : null,
  );
}

/** Inside another site's page a browser may refuse our cookie; then only the page itself remembers anybody. */
function fullPage() {
  return el("a", { class: "example", href: location.href, target: "_blank", rel: "noopener" }, "Open the full page to sign in and to keep your sessions");
}
