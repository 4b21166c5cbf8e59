// Making elements. Text from outside is only ever set as text here; markup is made in markdown.js and code.js alone.

/**
 * el("button", {class: "quiet", type: "button", on: {click: f}}, "Text", child)
 * null and false children and attributes are left out; true makes an empty attribute.
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function button(label, act, props = {}) {
  return el("button", { type: "button", ...props, on: { click: act } }, label);
}

/** A link that leaves the page: only http and https, told nothing about us. Anything else stays text. */
export function link(href, label) {
  if (!/^https?:\/\//i.test(href ?? "")) return el("span", {}, label);
  return el("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, label);
}

/** A fold whose content is made when it is first opened. */
export function fold(summary, content, props = {}) {
  const node = el("details", { class: "fold", ...props }, el("summary", {}, summary));
  const fill = () => {
    if (node.open && node.childElementCount === 1) node.append(content());
  };
  node.addEventListener("toggle", fill);
  fill();
  return node;
}

/** Change text only when it differs, so that nothing is laid out again for nothing. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function dot(state) {
  return el("span", { class: `dot ${state}`, "aria-hidden": "true" });
}

const PATHS = {
  send: "M12 19V5M5 12l7-7 7 7",
  stop: "M7 7h10v10H7z",
  clip: "M21 11l-9 9a5.5 5.5 0 01-8-8l9-9a3.7 3.7 0 015.3 5.3l-9 9a1.8 1.8 0 01-2.6-2.6l8.3-8.3",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  menu: "M4 7h16M4 12h16M4 17h16",
  panel: "M4 5h16v14H4zM14.5 5v14",
  down: "M12 5v14M5 12l7 7 7-7",
  chevron: "M9 6l6 6-6 6",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  pause: "M8 5v14M16 5v14",
  flask: "M9 3h6M10 3v6L4.5 18.5A1.7 1.7 0 006 21h12a1.7 1.7 0 001.500-2.500L14 9V3M7.500 14h9",
  pencil: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  undo: "M9 7L4 12l5 5M4 12h10a5 5 0 010 10h-2",
  theme: "M20 14.500A8 8 0 019.500 4 8 8 0 1020 14.500z",
  shield: "M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6z",
  cube: "M12 3l8 4.500v9L12 21l-8-4.500v-9zM4 7.500l8 4.500 8-4.500M12 12v9",
};

export function icon(name) {
  const svg = svgEl("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" });
  svg.append(svgEl("path", { d: PATHS[name] }));
  return svg;
}

export function svgEl(tag, props) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) node.setAttribute(name, value);
  return node;
}
