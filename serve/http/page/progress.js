// How far the job is.

import { announce, byId, make, number, show, size } from "./elements.js";
import { ROAD, stageName, unitOf } from "./words.js";

export class Progress {
  begin() {
    this.stage = "";
    byId("cancel").disabled = false;
    this.connection(true);
    this.enter("Sending");
    this.bar(null);
    show(byId("progress"));
  }

  end() {
    show(byId("progress"), false);
  }

  /** Bytes of the upload. */
  sent(done, total) {
    this.enter("Sending");
    this.bar(total ? done / total : null);
    this.text(total ? `${size(done)} of ${size(total)}` : size(done));
  }

  /** News of the job. */
  update(job) {
    if (job.state === "queued") this.queued(job);
    else if (job.state === "running") this.running(job);
  }

  queued({ position }) {
    this.enter("Waiting");
    this.bar(null);
    this.text(Number.isInteger(position) && position > 0 ? `${position === 1 ? "1 job is" : `${position} jobs are`} before this one` : "Waiting for a free worker");
  }

  running({ progress, attempt }) {
    const again = attempt > 1 ? ` · attempt ${attempt}: the first one was lost with its worker` : "";
    if (!progress) {
      this.enter("Reading");
      this.bar(null);
      this.text(`Started${again}`);
      return;
    }
    const { stage, done, total } = progress;
    this.enter(stageName(stage));
    this.bar(total ? done / total : null);
    this.text(total > 1 ? `${number(done)} of ${number(total)} ${unitOf(stage)}${again}` : `${stageName(stage)} …${again}`);
  }

  enter(name) {
    if (name === this.stage) return;
    this.stage = name;
    byId("progress-title").textContent = name;
    announce(name);
    const road = ROAD.includes(name) ? ROAD : [...ROAD.slice(0, 3), name, ...ROAD.slice(3)];
    const now = road.indexOf(name);
    byId("stages").replaceChildren(...road.map((text, index) => {
      const item = make("li", {}, text);
      item.dataset.state = index < now ? "done" : index === now ? "now" : "next";
      if (index === now) item.setAttribute("aria-current", "step");
      return item;
    }));
  }

  bar(share) {
    const bar = byId("bar");
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
  }

  text(text) {
    byId("progress-text").textContent = text;
  }

  connection(fine) {
    show(byId("connection"), !fine);
    byId("connection").textContent = fine ? "" : "The server does not answer. The job is kept there; this page goes on asking.";
  }

  note(text) {
    show(byId("connection"));
    byId("connection").textContent = text;
  }
}
