// What the answer's values mean, in sentences. Tones choose colours; signs say the same without them.

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

export function list(names) {
  if (names.length < 2) return names.join("");
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** Headline, sentence, sign and tone for an outcome. */
export function outcome(answer) {
  const present = answer.labels.filter((label) => label.present).map((label) => label.name);
  const known = {
    segmented: () => ({
      tone: doubtful(answer) ? "warning" : "good", sign: doubtful(answer) ? "!" : "✓",
      headline: `Found: ${list(present) || "see the mask"}`,
      text: doubtful(answer)
        ? "There is a mask, but the image is not like those that the model learnt from. Do not rely on it unseen."
        : "Look at the mask before you use it.",
    }),
    empty: () => emptiness(answer),
    indeterminate: () => isEmptyAndStrange(answer) ? emptiness(answer) : ({
      tone: "warning", sign: "?", headline: "Neither found nor ruled out",
      text: "What the model saw is too weak to be called present, and too strong to be called absent. Somebody has to look.",
    }),
    rejected: () => ({
      tone: "bad", sign: "✕", headline: "Not segmented",
      text: "The image is not what this model was made for. This is no finding: nothing is said about what it shows.",
    }),
  };
  return (known[answer.outcome] ?? (() => ({ tone: "neutral", sign: "?", headline: answer.outcome, text: "" })))();
}

const doubtful = (answer) => ["suspicious", "out_of_distribution"].includes(answer.distribution.verdict);

const isEmptyAndStrange = ({ empty, distribution }) =>
  Boolean(empty) && (empty.reason === "REJECTED_OOD" || distribution.verdict === "out_of_distribution");

const EMPTY_REASONS = {
  NO_VOXEL_ABOVE_THRESHOLD: "No voxel was more likely to belong to a structure than to the background.",
  ALL_COMPONENTS_BELOW_SIZE: "All that the model marked was smaller than the least size that is kept.",
  ALL_COMPONENTS_BELOW_CONFIDENCE: "The evidence for what the model marked lies below the threshold of absence.",
  INPUT_BLANK: "The image is blank.",
  REJECTED_OOD: "The image is not like those that the model learnt from, so its mask was withheld.",
  LABEL_ABSENT: "The model marked other structures only.",
};

function emptiness(answer) {
  const why = EMPTY_REASONS[answer.empty?.reason] ?? "";
  if (answer.empty && answer.empty.meaning !== "no_finding") {
    return { tone: "warning", sign: "?", headline: "Empty, but undecided", text: `${why} This does not mean that there is nothing.` };
  }
  return {
    tone: doubtful(answer) ? "warning" : "calm", sign: doubtful(answer) ? "!" : "○", headline: "Nothing found",
    text: `${why} An empty mask is an answer, not an error; it does not prove that there is nothing.`,
  };
}

/** The sentence about the image's likeness to the training data. */
export function verdict({ verdict: value, p, p_min: least, n_calibration: n }) {
  const figure = typeof p === "number" ? ` Of images like the ${n} calibration images, a share of ${percent(p)} is at least as unusual.` : "";
  const known = {
    in_distribution: ["good", "✓", "Like the calibration images", figure],
    suspicious: ["warning", "!", "Unusual", `${figure} Compare the image with what the model was made for.`],
    out_of_distribution: ["bad", "!", "Unlike the calibration images", `${figure} Do not rely on the mask, nor on its being empty.`],
    not_calibrated: ["neutral", "–", "Not known",
      "This model was never calibrated: whether this image is like those that it learnt from was not checked, beyond what makes a mask impossible."],
  };
  const [tone, sign, name, text] = known[value] ?? ["neutral", "?", value, ""];
  const bound = typeof least === "number" && least > 0 && typeof p === "number"
    ? ` With ${n} calibration images no share below ${percent(least)} can be shown.` : "";
  return { tone, sign, name, text: (text + bound).trim() };
}

export const percent = (share) => `${Number((100 * share).toPrecision(2))} %`;

/** Where a tile lies, in words; its middle as viewers have it (right, front, head; mm), where there are millimetres. */
export function place({ voxels, corners_mm: corners, z }) {
  const strength = `${Number(z.toPrecision(2))} deviations from the usual`;
  if (!corners) {
    const [, rows, columns] = voxels;
    return { text: `Columns ${span(columns)}, rows ${span(rows)}: ${strength}.`, middle: null };
  }
  const [low, high] = corners;
  const middle = low.map((value, axis) => (value + high[axis]) / 2 * (axis < 2 ? -1 : 1)); // the answer counts to the left and back
  const sizes = low.map((value, axis) => (high[axis] - value).toFixed(0));
  const [right, front, head] = middle.map((value) => value.toFixed(0));
  return { text: `Around right–left ${right}, back–front ${front}, foot–head ${head} mm (${sizes.join(" × ")} mm large): ${strength}.`, middle };
}

const span = ([first, behind]) => `${first} to ${behind - 1}`;

/** What is promised, and what is not. */
export function guarantee({ kind, alpha, misses, n }) {
  const level = typeof alpha === "number" ? percent(alpha) : "a set share";
  const missed = typeof misses === "number" ? `, and at most ${percent(misses)} of those with it are wrongly called empty` : "";
  const limit = "It says nothing about this one image, nor about how well the mask is drawn, and it ends where images change (another scanner, protocol or population).";
  const known = {
    conformal: `At most ${level} of images without a structure are wrongly said to show it${missed}, on average over images like the calibration images (${n}). ${limit}`,
    approximate: `The error rate of ${level} was estimated on ${n} images that parts of the model had seen in training: it may be higher. ${limit}`,
    surrogate: `The error rate of ${level} rests on stand-ins for images without a finding (${n}), as there were none to calibrate with: it may be higher. ${limit}`,
    none: "Nothing is promised about error rates: no calibration stands behind this answer, or the image is unlike those of the calibration.",
  };
  return known[kind] ?? `Guarantee: ${kind}. See the documentation.`;
}

/** What to do now. */
export function nextSteps(answer) {
  const steps = [];
  if (answer.problem) steps.push(answer.problem.remedy);
  if (answer.outcome === "rejected") steps.push("Correct the image, or choose another model, and send it again.");
  if (answer.outcome === "indeterminate") steps.push("Have the image read by somebody who knows what it should show.");
  if (answer.outcome === "empty") steps.push("Where a finding is expected, look at the image yourself; an empty mask can be a miss.");
  if (doubtful(answer)) steps.push("See whether modality, body part, orientation, spacing and units are those of the model.");
  if (answer.outcome === "segmented") steps.push("Look at the whole mask, at the borders of the structures above all, and correct it where needed.");
  if (answer.distribution.verdict === "not_calibrated" && answer.outcome !== "rejected") {
    steps.push("The operator can calibrate the model with images that it has not seen: nnunet-losses calibrate.");
  }
  return steps;
}

export function amount(label) {
  return label.volume_ml === null || label.volume_ml === undefined
    ? plural(label.voxels.toLocaleString("en"), "pixel") : `${Number(label.volume_ml.toPrecision(4))} ml`;
}

export const parts = (count) => plural(count, "part");

const STAGES = {
  upload: "Sending", queued: "Waiting", decode: "Reading", read: "Reading", check: "Checking", contract: "Checking",
  prepare: "Preparing", preprocess: "Preparing", tiles: "Segmenting", network: "Segmenting", predict: "Segmenting",
  conclude: "Putting together", stitch: "Putting together", postprocess: "Putting together", write: "Writing", outputs: "Writing",
};
export const ROAD = ["Sending", "Waiting", "Reading", "Segmenting", "Writing"];
export const stageName = (stage) => STAGES[stage] ?? stage.charAt(0).toUpperCase() + stage.slice(1).replaceAll("_", " ");

export const unitOf = (stage) => (stageName(stage) === "Segmenting" ? "tiles" : "steps");
