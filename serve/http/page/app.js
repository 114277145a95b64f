// The page: form, job, answer.

import * as api from "./api.js";
import { showAnswer, showEnd } from "./answer.js";
import { announce, byId, make, problemNotice, show, size } from "./elements.js";
import { follow } from "./follow.js";
import { Form } from "./form.js";
import { kindName } from "./outputs.js";
import { Progress } from "./progress.js";
import { canDraw, clearViewer, showImage } from "./viewer.js";
import { outcome } from "./words.js";

const form = new Form();
const progress = new Progress();
let run = null; // {id, stop} of the job that is shown

// ---- the server and its models ----

async function start() {
  byId("form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  byId("cancel").addEventListener("click", cancel);
  byId("again").addEventListener("click", nextImage);
  byId("key-button").addEventListener("click", () => askForKey());
  byId("key-use").addEventListener("click", (event) => { if (!byId("key").value) event.preventDefault(); });
  await loadModels();
  const id = /^#job=([\w-]+)$/.exec(location.hash)?.[1];
  if (id) await guarded(() => watch(id, new Map()));
}

async function loadModels() {
  try {
    const { models } = await withKey(() => api.get("v1/models"));
    form.setModels(models);
    const ready = models.filter((model) => model.state === "ready").length;
    const waiting = models.some((model) => ["loading", "testing"].includes(model.state));
    chip(ready === models.length ? "good" : "warning", `${ready} of ${models.length} model${models.length === 1 ? "" : "s"} ready`);
    byId("send").disabled = !ready;
    if (waiting) setTimeout(loadModels, 2000);
  } catch (error) {
    chip("bad", "No connection");
    byId("send").disabled = true;
    showFormProblem(error);
    if (error.status === 0) setTimeout(loadModels, 5000);
  }
}

function chip(tone, text) {
  byId("server").dataset.tone = tone;
  byId("server").textContent = text;
  if (tone !== "bad") byId("form-problem").replaceChildren();
}

/** Do something that may need an API key: ask for one, and try again, as long as the server wants one. */
async function withKey(action) {
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (error.status !== 401) throw error;
      show(byId("key-button"));
      if (!await askForKey(error)) throw error;
    }
  }
}

function askForKey(problem) {
  const dialog = byId("key-dialog");
  byId("key").value = "";
  byId("key-problem").textContent = problem && api.hasKey() ? problem.detail : "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "use" ? byId("key").value.trim() : "";
      byId("key").value = "";
      if (given) api.setKey(given);
      resolve(Boolean(given));
      if (given && !problem) loadModels();
    }, { once: true });
  });
}

// ---- one job ----

async function send() {
  byId("form-problem").replaceChildren();
  const missing = form.missing();
  if (!form.model || missing) {
    showFormProblem({ title: "A file is missing", detail: `There is no file for ${missing === "image" ? "the picture" : missing}.`, remedy: "Choose one, or drop it on its field.", code: "page.file_missing" });
    byId("channels").querySelector(".slot:not(.filled) input")?.focus();
    return;
  }
  const files = new Map(form.files);
  await guarded(async () => {
    const stop = new AbortController();
    begin({ id: null, stop });
    const body = form.body(canDraw(files.values()) ? ["mask", "answer"] : ["mask", "answer", "png"]);
    const job = await withKey(() => api.submit(body, { onSent: (done, total) => progress.sent(done, total), signal: stop.signal }));
    history.replaceState(null, "", `#job=${job.id}`);
    await watch(job.id, files, stop);
  });
}

async function watch(id, files, stop = new AbortController()) {
  if (run?.stop !== stop) begin({ id, stop });
  run.id = id;
  const job = await withKey(() => follow(id, {
    onJob: (news) => progress.update(news), onConnection: (fine) => progress.connection(fine), signal: stop.signal,
  }));
  await finish(job, files);
}

function begin(job) {
  run = job;
  clearViewer();
  show(byId("welcome"), false);
  show(byId("result"), false);
  progress.begin();
  byId("send").disabled = true;
  byId("progress-title").focus();
}

/** Run something of which a failure is shown where the answer would be. */
async function guarded(action) {
  try {
    await action();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 404 && location.hash) history.replaceState(null, "", location.pathname);
    end({ tone: "bad", sign: "✕", headline: "No answer", text: "" }, problemOf(error));
  } finally {
    byId("send").disabled = false;
  }
}

/** Faults of this page are problems, too. */
function problemOf(error) {
  if (error instanceof api.Problem) return error;
  console.error(error);
  return new api.Problem({ code: "page.fault", title: "This page failed", detail: error.message, remedy: "Load the page again. The job goes on; its address has not changed." });
}

async function cancel() {
  const { id, stop } = run;
  if (!id) {
    stop.abort();
    end({ tone: "neutral", sign: "–", headline: "Cancelled", text: "Nothing was sent." });
    return;
  }
  byId("cancel").disabled = true;
  announce("Cancelling");
  try {
    await api.cancel(id);
  } catch (error) {
    if (error.status !== 409) progress.note(error.message); // 409: it was finished before
  }
}

async function finish(job, files) {
  const artifacts = job.artifacts ?? [];
  const answer = await answerOf(job, artifacts);
  if (!answer) {
    end(endOf(job), job.problem ?? undefined);
    return;
  }
  const labels = form.models.find((model) => model.name === job.model)?.labels ?? [];
  showAnswer(answer, labels);
  showDownloads(artifacts);
  reveal(outcome(answer).headline);
  if (answer.outcome !== "rejected") await showMask({ artifacts, files, labels });
}

async function answerOf(job, artifacts) {
  if (job.problem?.answer) return job.problem.answer;
  const artifact = artifacts.find((one) => /^answer\b/.test(one.name));
  return artifact ? JSON.parse(await (await api.download(artifact)).text()) : null;
}

async function showMask({ artifacts, files, labels }) {
  const pick = (artifact) => withKey(() => api.download(artifact));
  const mask = artifacts.find((one) => /^mask\b/.test(one.name));
  const pngs = artifacts.filter((one) => one.media_type === "image/png" && one !== mask);
  const kind = await showImage({
    images: files, labels, mask: mask ? await pick(mask) : null, pngs: await Promise.all(pngs.map(pick)),
  });
  byId("viewer").dataset.kind = kind;
}

function endOf(job) {
  if (job.state === "cancelled") return { tone: "neutral", sign: "–", headline: "Cancelled", text: "There is no mask. The files were deleted." };
  return { tone: "bad", sign: "✕", headline: "Not segmented", text: "The job failed. This is no finding: nothing is said about what the image shows." };
}

function end(words, problem) {
  showEnd(words, problem);
  showDownloads([]);
  clearViewer();
  reveal([words.headline, problem?.detail].filter(Boolean).join(". "));
}

function reveal(text) {
  progress.end();
  show(byId("result"));
  announce(text);
  byId("headline").focus();
  byId("send").disabled = false;
}

function showDownloads(artifacts) {
  show(byId("downloads"), artifacts.length > 0);
  byId("files").replaceChildren(...artifacts.map((artifact) => {
    const button = make("button", { type: "button" }, kindName(artifact.name), make("span", { className: "hint" }, size(artifact.bytes)));
    button.addEventListener("click", () => save(artifact, button));
    return make("li", {}, button);
  }));
}

async function save(artifact, button) {
  try {
    const file = await withKey(() => api.download(artifact));
    const url = URL.createObjectURL(file);
    make("a", { href: url, download: file.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    announce(`${file.name} was saved.`);
  } catch (error) {
    button.after(problemNotice(problemOf(error)));
  }
}

function nextImage() {
  history.replaceState(null, "", location.pathname);
  clearViewer();
  show(byId("result"), false);
  show(byId("welcome"));
  form.files.clear();
  form.note("");
  form.draw("file-0");
}

function showFormProblem(problem) {
  byId("form-problem").replaceChildren(problemNotice(problem));
}

start();
