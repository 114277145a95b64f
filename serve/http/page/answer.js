// The answer in words and tables.

import { byId, inWords, make, number, problemNotice, show } from "./elements.js";
import { patternName, swatch } from "./palette.js";
import { amount, guarantee, nextSteps, outcome, parts, percent, place, plural, verdict } from "./words.js";

/** Show a whole answer. `labels` are the model's, whose order decides the colours. */
export function showAnswer(answer, labels) {
  showBanner(outcome(answer));
  byId("statement").replaceChildren(...[
    answer.problem && problemNotice({ title: "Why it was rejected", ...answer.problem, remedy: "", members: answer.problem }),
    labelTable(answer, labels),
    section("What to do next", ...bullets(nextSteps(answer), "ol")),
    likeness(answer.distribution),
    ...(answer.outcome === "rejected" ? [] : [changes(answer.policy), promise(answer)]),
    warnings(answer.warnings),
    origin(answer.manifest),
  ].filter(Boolean));
}

/** Show how a job without an answer ended. */
export function showEnd({ tone, sign, headline, text }, problem) {
  showBanner({ tone, sign, headline, text });
  byId("statement").replaceChildren(...(problem ? [problemNotice(problem)] : []));
}

function showBanner({ tone, sign, headline, text }) {
  byId("banner").dataset.tone = tone;
  byId("sign").textContent = sign;
  byId("headline").textContent = headline;
  byId("summary").textContent = text;
  show(byId("summary"), Boolean(text));
}

function section(title, ...children) {
  return children.length ? make("section", {}, make("h3", {}, title), ...children) : null;
}

const bullets = (items, tag = "ul") => (items.length ? [make(tag, {}, ...items.map((item) => make("li", {}, item)))] : []);

function labelTable(answer, labels) {
  if (!answer.labels.length) return null;
  const head = ["Structure", "Said to be", "Amount", "Separate parts"];
  const numeric = (index) => (index > 1 ? { className: "number" } : {});
  const withScore = answer.labels.some((label) => typeof label.presence_score === "number");
  if (withScore) head.push("Score");
  const rows = answer.labels.map((label) => labelRow(label, labels, { withScore, outcome: answer.outcome }));
  const table = make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((text, index) => make("th", { scope: "col", ...numeric(index) }, text)))),
    make("tbody", {}, ...rows));
  return section("What is in the mask", make("div", { className: "table" }, table));
}

function labelRow(label, labels, { withScore }) {
  const index = Math.max(labels.findIndex((known) => known.name === label.name), 0);
  const sign = swatch(index);
  sign.title = patternName(index);
  const said = label.presence?.decision ?? (label.present ? "present" : "absent");
  const row = make("tr", { className: label.present ? "" : "absent" },
    make("td", {}, sign, label.name), make("td", {}, said.replaceAll("_", " ")),
    make("td", { className: "number" }, label.voxels ? amount(label) : "none"),
    make("td", { className: "number" }, label.voxels ? parts(label.components) : "–"));
  if (withScore) row.append(make("td", { className: "number" }, typeof label.presence_score === "number" ? number(label.presence_score, 3) : "–"));
  return row;
}

function likeness(distribution) {
  const { tone, sign, name, text } = verdict(distribution);
  const evidence = distribution.evidence.map((entry) => entry.message);
  return section("Is the image like those that the model knows?",
    make("p", {}, make("span", { className: "chip", tone }, `${sign} ${name}`)), make("p", {}, text),
    ...(distribution.remark ? [make("p", { className: "hint" }, distribution.remark)] : []),
    ...(evidence.length ? [make("details", {}, make("summary", {}, `Evidence (${evidence.length})`), ...bullets(evidence))] : []),
    ...places(distribution.unusual_tiles ?? []));
}

/** Where the network meets what it does not know; a click takes the viewer there. */
function places(tiles) {
  if (!tiles.length) return [];
  const rows = tiles.map((tile) => {
    const { text, middle } = place(tile);
    const row = make("li", {}, text);
    if (middle) {
      const jump = make("button", { type: "button", className: "quiet" }, "Show");
      jump.addEventListener("click", () => { jump.disabled = !lookAt(middle); });
      row.append(" ", jump);
    }
    return row;
  });
  return [make("p", {}, `Least familiar to the network: ${plural(tiles.length, "place")}, the strangest first.`), make("ul", {}, ...rows)];
}

/** Ask the viewer to go to a place (right, front, head; mm); whether it can. */
const lookAt = (detail) => !byId("screen").dispatchEvent(new CustomEvent("look", { detail, cancelable: true }));

function changes(policy) {
  const removed = policy.removed_components.map(inWords);
  const done = [...policy.applied].map((text) => text.replaceAll("_", " "));
  const head = removed.length || done.length
    ? "The mask is not all that the network marked."
    : "Nothing was removed: the mask is what the network marked.";
  return section("What was changed", make("p", {}, head), ...bullets(done),
    ...(removed.length ? [make("details", { open: removed.length < 6 }, make("summary", {}, `Removed parts (${removed.length})`), ...bullets(removed))] : []),
    make("p", { className: "hint" }, `Policies: unusual images ${policy.ood}, empty masks ${policy.empty}.`));
}

function promise(answer) {
  return section("What is promised, and what not", make("p", {}, guarantee(answer.guarantee)),
    ...(answer.guarantee.remark ? [make("p", { className: "hint" }, answer.guarantee.remark)] : []), ...quality(answer.quality));
}

function quality({ expected_dice: dice, interval, coverage }) {
  if (typeof dice !== "number") return [];
  const range = interval ? ` (in ${percent(coverage)} of cases between ${interval.map((value) => number(value, 2)).join(" and ")})` : "";
  return [make("p", {}, `Expected overlap with a person's mask, Dice: ${number(dice, 2)}${range}.`)];
}

function warnings(items) {
  return section("Remarks", ...items.map((item) => make("div", { className: "notice", tone: "warning" },
    make("p", {}, item.message), make("p", { className: "hint" }, make("code", {}, item.code)))));
}

function origin(manifest) {
  const facts = [
    ["Model", manifest.model], ["Bundle", manifest.bundle_sha256], ["Input", manifest.input_sha256],
    ["Mask", manifest.mask_sha256], ["Runs on", manifest.provider], ["Precision", manifest.precision],
    ["Tiles", manifest.tiles || null], ["Seconds", Object.entries(manifest.timings ?? {}).map(([stage, s]) => `${stage} ${number(s, 2)}`).join(", ")],
    ["Versions", Object.entries(manifest.versions ?? {}).map((pair) => pair.join(" ")).join(", ")],
  ].filter(([, value]) => value);
  const rows = facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]);
  return make("details", {}, make("summary", {}, "Where this comes from"), make("dl", { className: "numbers" }, ...rows));
}
