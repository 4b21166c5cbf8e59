// What a tool showed: papers, a paper's part, repositories, a plan, a file.

import { fileAddress } from "./api.js";
import { button, dot, el, fold, icon, link } from "./dom.js";
import { markdown } from "./markdown.js";
import { cutAround } from "./math/marks.js";
import { withFormulas } from "./math/math.js";
import { bytes, count, cut, plural } from "./words.js";

const FIRST = 4; // rows shown before "show all"

/** Each kind of card: what draws it. */
export const CARDS = {
  papers_found: papersFound,
  paper_opened: paperOpened,
  repos_found: reposFound,
  plan_made: (card) => planLine(card.todos),
  file_made: (card, page) => fileRow(card, page),
};

/** A card of a kind we do not know is named, so that nobody thinks nothing came. */
export function cardView(card, page) {
  const view = CARDS[card.kind];
  return view ? view(card, page) : el("div", { class: "faint" }, card.kind);
}

function papersFound({ query, source, papers }) {
  return listed(
    [icon("file"), el("b", {}, plural(papers.length, "paper")), el("span", { class: "faint" }, [query && `“${query}”`, source].filter(Boolean).join(" · "))],
    papers.map((paper) =>
      el(
        "li",
        {},
        el("div", { class: "row-title" }, link(paper.url || `https://arxiv.org/abs/${paper.id}`, withFormulas(paper.title))),
        el(
          "div",
          { class: "faint row-facts" },
          [paper.id, paper.date, cut(paper.authors, 80), paper.upvotes ? `${count(paper.upvotes)} upvotes` : ""].filter(Boolean).join(" · "),
        ),
        paper.summary ? fold("Summary", () => el("p", {}, withFormulas(paper.summary))) : null,
      ),
    ),
  );
}

function paperOpened({ id, title, source, url, sections, section, text }) {
  const node = el(
    "div",
    { class: "shown" },
    el("div", { class: "shown-head" }, icon("file"), el("b", {}, link(url || `https://arxiv.org/abs/${id}`, withFormulas(title || id)))),
    el("div", { class: "faint row-facts" }, [id, source, section].filter(Boolean).join(" · ")),
  );
  if (sections.length) {
    node.append(fold(`Outline, ${plural(sections.length, "section")}`, () => el("ul", { class: "outline" }, sections.map((one) => el("li", {}, withFormulas(one))))));
  }
  if (text) node.append(el("div", { class: "prose excerpt" }, markdown(cutAround(text, 600))));
  return node;
}

function reposFound({ repo_kind, query, repos }) {
  return listed(
    [icon("cube"), el("b", {}, plural(repos.length, repo_kind)), el("span", { class: "faint" }, query ? `“${query}”` : "")],
    repos.map((repo) =>
      el(
        "li",
        {},
        el("div", { class: "row-title mono" }, link(repo.url, repo.id)),
        el("div", { class: "faint row-facts" }, repo.facts.join(" · ")),
      ),
    ),
  );
}

function listed(head, rows) {
  const list = el("ol", { class: "rows" }, rows.slice(0, FIRST));
  const node = el("div", { class: "shown" }, el("div", { class: "shown-head" }, head), list);
  if (rows.length > FIRST) {
    const more = button(`Show all ${rows.length}`, () => {
      list.append(...rows.slice(FIRST));
      more.remove();
    }, { class: "link" });
    node.append(more);
  }
  return node;
}

/** In the conversation a plan is one line; the panel has it in full. */
function planLine(todos) {
  const now = todos.find((todo) => todo.status === "in_progress");
  const done = todos.filter((todo) => todo.status === "completed").length;
  return fold(withFormulas(`${done} of ${todos.length} done${now ? `, now: ${now.text}` : ""}`), () => planView(todos));
}

const TODO = { pending: "todo", in_progress: "running", completed: "good" };

export function planView(todos) {
  const done = todos.filter((one) => one.status === "completed").length;
  const bar = el("progress", { class: "bar", max: Math.max(todos.length, 1), value: done, "aria-label": "Plan" });
  return el(
    "div",
    { class: "plan" },
    bar,
    el("div", { class: "faint" }, `${done} of ${todos.length} done`),
    el("ol", {}, todos.map((todo) => el("li", { class: todo.status }, dot(TODO[todo.status]), el("span", {}, withFormulas(todo.text))))),
  );
}

export function fileRow({ path, bytes: size, job }, page) {
  const name = path.split("/").at(-1);
  return el(
    "a",
    { class: "file-row", href: fileAddress(page.session, path), download: name, title: path },
    icon("file"), el("b", {}, name), el("span", { class: "faint" }, [size === undefined ? "" : bytes(size), job].filter(Boolean).join(" · ")),
  );
}
