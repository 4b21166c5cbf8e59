// Browser notifications for who looks elsewhere: a question, the end of a job, a run that failed. One per event.

const FRESH_SECONDS = 60; // what happened longer ago is history that is being read again
const SETTLES_MS = 400; // a question that the policy answers needs nobody

/** Asks for leave to notify; to be called in the user's own click. */
export function wish() {
  if ("Notification" in window && Notification.permission === "default") Notification.requestPermission();
}

/** Tell of one entry, if it matters, nobody is looking and the browser allows it. */
export function notice({ seq, at, event }, page, open) {
  if (!document.hidden || !("Notification" in window) || Notification.permission !== "granted") return;
  if (Date.now() / 1000 - at > FRESH_SECONDS) return;
  const { session, story } = page;
  const tell = (text) => {
    let shown;
    try {
      shown = new Notification("ML Intern", { body: text, tag: `${session}-${seq}` }); // the same in two tabs is one
    } catch {
      return; // a phone's browser takes notifications from service workers only
    }
    shown.addEventListener("click", () => {
      window.focus();
      open(session);
      shown.close();
    });
  };
  if (event.kind === "approval_asked") {
    setTimeout(() => story.approvals.get(event.approval)?.answer || tell(asked(event.request)), SETTLES_MS);
  } else if (event.kind === "job_ended") {
    tell(`${story.jobs.get(event.job)?.title || "A job"}: ${event.status}. ${event.message}`.trim());
  } else if (event.kind === "job_alarm") {
    tell(`${story.jobs.get(event.job)?.title || "A job"}: ${event.text}`);
  } else if (event.kind === "job_alerted" && event.level !== "info") {
    tell(`${story.jobs.get(event.job)?.title || "A job"}: ${event.text}`);
  } else if (event.kind === "run_ended" && ["failed", "budget"].includes(event.why)) {
    tell(event.message);
  } else if (event.kind === "run_ended" && event.why === "answered") {
    tell("The task is done.");
  }
}

function asked(request) {
  if (request.kind === "question") return request.question;
  return request.kind === "spend" ? `Needs your approval: ${request.title}` : "Needs your answer";
}
