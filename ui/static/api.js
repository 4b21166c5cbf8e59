// The way to the server. This file's own address says where the app is, whatever prefix it lies behind.

const BASE = new URL("../../", import.meta.url);
const SIGN = new URLSearchParams(location.search).get("__sign"); // how a private Space knows its reader

/** What went wrong, in the server's words where it had some. */
export class Problem extends Error {
  constructor(message, hint = "", status = 0) {
    super(message);
    this.hint = hint;
    this.status = status;
  }
  get words() {
    return `${this.message} ${this.hint}`.trim();
  }
}

export function address(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  if (SIGN) url.searchParams.set("__sign", SIGN);
  return url.href;
}

export function fileAddress(session, path) {
  return address(`files/${encodeURIComponent(session)}/${path.split("/").map(encodeURIComponent).join("/")}`);
}

export function get(path) {
  return ask(address(path), {});
}

export function post(path, body, headers = {}) {
  return ask(address(path), {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

export function upload(session, file) {
  return ask(address("upload", { session, name: file.name }), {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream" },
    body: file,
  });
}

async function ask(url, options) {
  let response;
  try {
    response = await fetch(url, { credentials: "same-origin", cache: "no-store", ...options });
  } catch {
    throw new Problem("The server cannot be reached.", "Check the connection and try again.");
  }
  let answer;
  try {
    answer = await response.json();
  } catch {
    throw new Problem(`The server answered ${response.status}.`, "Try again in a moment.", response.status);
  }
  if (!response.ok) throw new Problem(answer.message ?? `The server answered ${response.status}.`, answer.hint, response.status);
  return answer;
}

/** Storage that may be forbidden, as inside another site's page: then it keeps nothing and says nothing. */
export const storage = {
  get(name) {
    try {
      return localStorage.getItem(`ml-intern.${name}`);
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(`ml-intern.${name}`, value);
    } catch {
      /* nothing is kept here */
    }
  },
};
