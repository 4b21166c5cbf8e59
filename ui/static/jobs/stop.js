// The button that ends one job, while it runs. Asked once, it waits for the job's end, which the server goes on trying for.

import { post } from "../api.js";
import { button, el, icon, setText } from "../dom.js";

export function stopButton(item, page) {
  const words = item.request.place.stop;
  const label = el("span", {}, words);
  const act = button([icon("stop"), label], ask, { class: "secondary stop-job" });
  const trouble = el("span", { class: "error", role: "alert", hidden: true });
  const node = el("div", { class: "job-stop" }, act, trouble);

  async function ask() {
    item.stopping = true;
    trouble.hidden = true;
    update();
    try {
      await post("cancel", { session: page.session, job: item.job });
    } catch (problem) {
      item.stopping = false;
      trouble.textContent = problem.words ?? String(problem);
      trouble.hidden = false;
      update();
    }
  }

  function update() {
    node.hidden = !item.job || Boolean(item.status);
    act.disabled = item.stopping;
    setText(label, item.stopping ? "Stopping…" : words);
    act.classList.toggle("danger", item.alarms.length > 0);
    act.classList.toggle("secondary", item.alarms.length === 0);
  }

  return { node, update };
}
