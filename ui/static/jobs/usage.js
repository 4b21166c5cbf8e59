// What a job uses of its machine, in short words: as its place measured it last, else as its own log told.

import { measure } from "../words.js";

/** [name, value] pairs; none when nothing is known. */
export function usage({ use, latest }) {
  const known = use ?? Object.fromEntries(latest);
  const told = [];
  if (Number.isFinite(known.gpu_percent)) told.push(["GPU", share(known.gpu_percent, known.gpu_memory_gb)]);
  if (Number.isFinite(known.cpu_percent)) told.push(["CPU", share(known.cpu_percent, known.memory_gb)]);
  return told;
}

function share(percent, gigabytes) {
  return `${Math.round(percent)} %${Number.isFinite(gigabytes) ? `, ${measure(gigabytes)} GB` : ""}`;
}
