// The service's HTTP interface as far as the page uses it.

const ROOT = new URL("../", document.baseURI);
const FINAL = new Set(["succeeded", "failed", "cancelled"]);
let key = "";

/** Something that did not work, with what to do about it: a problem document (RFC 9457), or our own words. */
export class Problem extends Error {
  constructor({ code = "internal", title = "", detail = "", remedy = "", status = 0, ...members }) {
    super(detail || title);
    Object.assign(this, { code, title, detail, remedy, status, members });
  }
}

export const isFinal = (job) => FINAL.has(job.state);
export const setKey = (value) => { key = value; };
export const hasKey = () => key !== "";
export const address = (path) => new URL(String(path).replace(/^\//, ""), ROOT);

function headers(more = {}) {
  return key ? { ...more, Authorization: `Bearer ${key}` } : more;
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(address(path), { cache: "no-store", ...options, headers: headers(options.headers) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw offline();
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

const offline = () => new Problem({
  code: "page.offline", title: "The server does not answer",
  detail: "No connection to the server.",
  remedy: "See whether it still runs and whether you are still connected to its network. Then try again.",
});

async function problemOf(response) {
  const text = await response.text();
  return parsedProblem(text, response.status, response.headers.get("Retry-After"));
}

function parsedProblem(text, status, retryAfter) {
  try {
    return new Problem({ ...JSON.parse(text), status, retryAfter });
  } catch {
    return new Problem({
      code: `http.${status}`, title: `The server answered with status ${status}`, status,
      detail: "What it said is not a problem description; something between this page and the service may have answered.",
      remedy: "Try again. If it stays so, ask the operator of the server.",
    });
  }
}

export const get = async (path) => (await request(path)).json();
export const cancel = (id) => request(`v1/jobs/${encodeURIComponent(id)}`, { method: "DELETE" });
export const status = (id) => get(`v1/jobs/${encodeURIComponent(id)}`);

/** One result file, under its own name. Its hash is compared where the browser can (HTTPS, or this machine). */
export async function download(artifact) {
  const response = await request(artifact.url);
  const bytes = await response.arrayBuffer();
  if (artifact.sha256 && globalThis.crypto?.subtle) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const hex = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    if (hex !== artifact.sha256) throw damaged(artifact.name);
  }
  return new File([bytes], fileName(response, artifact), { type: artifact.media_type });
}

const ENDINGS = { "application/json": ".json", "image/png": ".png", "image/tiff": ".tif", "application/gzip": ".nii.gz", "application/dicom": ".dcm" };

/** The server says how the file is called (Content-Disposition); otherwise its kind and the media type's ending. */
function fileName(response, artifact) {
  const said = /filename="([^"/\\]+)"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
  return said ?? `${artifact.name}${artifact.name.includes(".") ? "" : ENDINGS[artifact.media_type] ?? ""}`;
}

const damaged = (name) => new Problem({
  code: "page.damaged", title: "A file arrived damaged",
  detail: `${name} does not have the hash that the server recorded.`, remedy: "Download it again.",
});

/** Submit a job. XMLHttpRequest, as fetch does not tell how much of a body was sent. */
export function submit(form, { onSent, signal }) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open("POST", address("v1/jobs"));
    for (const [name, value] of Object.entries(headers({ "Idempotency-Key": token() }))) call.setRequestHeader(name, value);
    call.upload.onprogress = (event) => onSent(event.loaded, event.lengthComputable ? event.total : 0);
    call.onload = () => {
      if (call.status >= 200 && call.status < 300) resolve(JSON.parse(call.responseText));
      else reject(parsedProblem(call.responseText, call.status, call.getResponseHeader("Retry-After")));
    };
    call.onerror = () => reject(offline());
    call.onabort = () => reject(new DOMException("stopped", "AbortError"));
    signal.addEventListener("abort", () => call.abort());
    call.send(form);
  });
}

function token() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Server-sent events over fetch: EventSource cannot send an API key. Yields {event, data, id}. */
export async function* events(id, { signal, last }) {
  const more = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) };
  const response = await request(`v1/jobs/${encodeURIComponent(id)}/events`, { headers: more, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const message = parsedEvent(block);
      if (message) yield message;
    }
  }
}

function parsedEvent(block) {
  const fields = { event: "message", data: "", id: "" };
  for (const line of block.split("\n")) {
    const [, name, value] = /^(event|data|id): ?(.*)$/.exec(line) ?? [];
    if (name === "data" && fields.data) fields.data += `\n${value}`;
    else if (name) fields[name] = value;
  }
  return fields.data || fields.id ? fields : null;
}
