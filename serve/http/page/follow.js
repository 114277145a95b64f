// Follow a job to its end: events while the connection holds, otherwise questions at growing intervals.

import { events, isFinal, status } from "./api.js";

const SHORTEST = 500;
const LONGEST = 8000;
const ASK_AGAIN = new Set([0, 408, 425, 429, 500, 502, 503, 504]); // 0: no connection

/**
 * Call `onJob` with each new state of the job, `onConnection(false)` while the server does not answer.
 * Resolves with the finished job; rejects with a Problem that waiting will not mend, or when stopped.
 */
export async function follow(id, { onJob, onConnection, signal }) {
  let wait = SHORTEST;
  let last = "";
  for (;;) {
    try {
      const job = await status(id);
      onConnection(true);
      onJob(job);
      if (isFinal(job)) return job;
      last = await listen(job, { onJob, signal, last: job.last_event ? String(job.last_event) : last });
      wait = SHORTEST;
    } catch (error) {
      if (signal.aborted || !ASK_AGAIN.has(error.status ?? -1)) throw error;
      onConnection(error.status !== 0);
      wait = Math.min(wait * 2, LONGEST);
    }
    await pause(wait, signal);
  }
}

/** Read events until the stream ends. What breaks it is no fault: the next question tells what is so. */
async function listen(job, { onJob, signal, last }) {
  try {
    for await (const message of events(job.id, { signal, last })) {
      last = message.id || last;
      if (message.event === "done") return last;
      const data = JSON.parse(message.data);
      if (message.event === "progress") job = { ...job, state: "running", progress: data };
      else if (message.event === "state") job = { ...job, ...data };
      else continue;
      if (isFinal(job)) return last;
      onJob(job);
    }
  } catch (error) {
    if (signal.aborted || error.status === 401) throw error;
  }
  return last;
}

const pause = (milliseconds, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, milliseconds);
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    reject(new DOMException("stopped", "AbortError"));
  }, { once: true });
});
