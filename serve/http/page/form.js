// The form: which model, and which file is which channel.

import { byId, make, show, size } from "./elements.js";
import { choices, kindName } from "./outputs.js";

export class Form {
  constructor() {
    this.models = [];
    this.files = new Map(); // part -> File
    byId("model").addEventListener("change", () => this.chooseModel());
    catchStrayDrops((files) => this.take(files));
  }

  get model() {
    return this.models.find((model) => model.name === byId("model").value);
  }

  /** Show the models that the server has. */
  setModels(models) {
    const before = byId("model").value;
    this.models = models;
    byId("model").replaceChildren(...models.map((model) => make("option", {
      value: model.name, disabled: model.state !== "ready", selected: model.name === before,
    }, model.state === "ready" ? model.name : `${model.name} (${model.state})`)));
    byId("model").disabled = models.length < 1;
    if (this.model?.state !== "ready") byId("model").value = models.find((model) => model.state === "ready")?.name ?? "";
    this.chooseModel();
  }

  chooseModel() {
    const model = this.model;
    byId("model-facts").textContent = model ? facts(model) : "No model is ready.";
    const kept = [...this.files.values()];
    this.files.clear();
    if (model) this.take(kept);
    this.draw();
    this.drawOutputs();
  }

  /** Take files of a drop or of a picker; `part` is the channel where they were put, if any. */
  take(files, part) {
    const parts = this.model?.parts ?? [];
    if (part && files.length === 1) this.files.set(part, files[0]);
    else this.note(assign(files, parts, this.files));
    this.draw();
  }

  move(from, to) {
    const [file, other] = [this.files.get(from), this.files.get(to)];
    this.files.delete(from);
    if (other) this.files.set(from, other);
    this.files.set(to, file);
    this.note("");
    this.draw(`move-${to}`);
  }

  note(text) {
    byId("files-note").textContent = text;
  }

  draw(focus) {
    const model = this.model;
    const slots = (model?.parts ?? []).map((part, index) => this.slot(part, index));
    byId("channels").replaceChildren(make("legend", {}, slots.length > 1 ? "Files, one for each channel" : "File"), ...slots);
    if (focus) byId(focus)?.focus();
  }

  slot(part, index) {
    const file = this.files.get(part);
    const input = make("input", { type: "file", id: `file-${index}`, multiple: this.model.parts.length > 1, "aria-describedby": `said-${index}` });
    input.addEventListener("change", () => { if (input.files.length) this.take([...input.files], part); byId(`file-${index}`)?.focus(); });
    const text = file ? `${file.name} · ${size(file.size)}` : `Drop a file here, or press to choose (${this.model.file_ending ?? "image"})`;
    const box = make("div", { className: `slot${file ? " filled" : ""}` },
      make("label", { htmlFor: `file-${index}` }, make("span", {}, make("span", { className: "name" }, part === "image" ? "Picture" : part), make("span", { className: "index" }, this.model.parts.length > 1 ? `channel ${index + 1} of ${this.model.parts.length}` : "")),
        make("span", { className: file ? "file" : "hint", id: `said-${index}` }, text)), input);
    box.dataset.part = part;
    if (file) box.append(this.slotTools(part));
    receiveDrops(box, (files) => this.take(files, part));
    return box;
  }

  slotTools(part) {
    const remove = make("button", { type: "button", className: "quiet small", "aria-label": `Remove the file of ${part}` }, "Remove");
    remove.addEventListener("click", () => { this.files.delete(part); this.draw(`file-${this.model.parts.indexOf(part)}`); });
    const tools = make("div", { className: "row" }, remove);
    if (this.model.parts.length > 1) {
      const choice = make("select", { id: `move-${part}`, "aria-label": `Which channel this file is (now ${part})` },
        ...this.model.parts.map((name) => make("option", { value: name, selected: name === part }, `is ${name}`)));
      choice.addEventListener("change", () => this.move(part, choice.value));
      tools.append(choice);
    }
    return tools;
  }

  drawOutputs() {
    const names = this.model ? choices(this.model) : [];
    show(byId("outputs"), names.length > 0);
    byId("outputs").replaceChildren(make("legend", {}, "Also make"), ...names.map((name) => make("label", { className: "choice" },
      make("input", { type: "checkbox", name: "output", value: name }), kindName(name))));
  }

  /** Name of a channel without a file, or null. */
  missing() {
    return this.model?.parts.find((part) => !this.files.has(part)) ?? null;
  }

  /** The request's body; `outputs` that the page itself needs are added. */
  body(needed) {
    const body = new FormData();
    body.append("model", this.model.name);
    if (byId("case").value.trim()) body.append("case", byId("case").value.trim());
    for (const { id, value } of document.querySelectorAll(".policy")) if (value) body.append(id, value);
    const chosen = [...document.querySelectorAll("#outputs input:checked")].map((box) => box.value);
    const outputs = [...new Set([...chosen, ...needed])];
    if (outputs.length) body.append("outputs", outputs.join(","));
    for (const [part, file] of this.files) body.append(part, file, neutralName(file.name));
    return body;
  }
}

/** File names may hold a patient's name: only the ending is sent. */
const neutralName = (name) => `image${/(\.nii)?\.[a-z0-9]+$/i.exec(name)?.[0].toLowerCase() ?? ""}`;

function facts(model) {
  const labels = (model.labels ?? []).map((label) => label.name).join(", ");
  return `Marks ${labels} in ${model.dimension === 2 ? "pictures" : "volumes"}.`;
}

/** Give files to channels: by name, by nnU-Net's index, then by order. Says what was done where it was guessed. */
export function assign(files, parts, into) {
  const left = [];
  for (const file of files) {
    const part = parts.find((name, index) => !into.has(name) && fits(file.name, name, index));
    if (part && parts.length > 1) into.set(part, file);
    else left.push(file);
  }
  const free = parts.filter((part) => !into.has(part));
  const guessed = left.slice(0, free.length);
  guessed.forEach((file, index) => into.set(free[index], file));
  if (left.length > free.length && parts.length === 1) into.set(parts[0], left.at(-1));
  const lost = parts.length === 1 ? left.length - 1 : left.length - guessed.length;
  if (lost > 0) return `${lost} more file${lost === 1 ? " was" : "s were"} not taken: there is one place for each channel.`;
  return guessed.length && parts.length > 1 ? "Files were put in the order in which they came, as their names do not say which channel they are. Please check." : "";
}

function fits(file, part, index) {
  const stem = file.toLowerCase().replace(/(\.nii)?\.[a-z0-9]+$/, "");
  const words = stem.split(/[^a-z0-9]+/);
  return words.includes(part.toLowerCase()) || words.at(-1) === String(index).padStart(4, "0");
}

function receiveDrops(box, use) {
  box.addEventListener("dragover", (event) => { event.preventDefault(); box.classList.add("over"); });
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    box.classList.remove("over");
    if (event.dataTransfer.files.length) use([...event.dataTransfer.files]);
  });
}

/** A file dropped beside the boxes must not replace the page. */
function catchStrayDrops(use) {
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer?.files.length) use([...event.dataTransfer.files]);
  });
}
