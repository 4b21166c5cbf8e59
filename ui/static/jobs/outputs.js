// What a job left in its bucket on Hugging Face: rows with a size, each a link to the file there.

import { button, el, icon, link } from "../dom.js";
import { bytes, count, plural } from "../words.js";

const FIRST = 4; // rows shown before "show all"

/** Empty when nothing is known of it. */
export function outputsView({ left }) {
  if (!left) return [];
  const { url, folder, files, rest, whole } = left;
  const name = `${url.split("/buckets/").at(-1)}/${folder}`;
  const more = whole ? rest : 1;
  const all = files.length + rest;
  const said = all || more ? `${whole ? "" : "at least "}${plural(all, "file")} in ` : "It left no file in ";
  const list = el("div", { class: "files" }, files.slice(0, FIRST).map((file) => row(file, left)));
  const parts = [el("p", { class: "faint left-head" }, said, link(url, name)), list];
  const others = more ? el("p", { class: "faint" }, whole ? `and ${count(rest)} more there` : "and more there that were not listed") : null;
  if (files.length > FIRST) {
    const show = button(`Show ${rest ? "the first" : "all"} ${files.length}`, () => {
      list.append(...files.slice(FIRST).map((file) => row(file, left)));
      list.children[FIRST].querySelector("a")?.focus(); // the button that had the focus goes
      show.replaceWith(others ?? "");
    }, { class: "link" });
    parts.push(show);
  } else if (others) parts.push(others);
  return parts;
}

function row({ path, bytes: size }, { url, folder }) {
  const name = link(`${url}/resolve/${encodeURIComponent(`${folder}/${path}`)}`, path);
  return el("div", { class: "file-row" }, icon("file"), el("b", {}, name), el("span", { class: "faint" }, bytes(size)));
}
