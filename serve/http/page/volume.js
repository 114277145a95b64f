// Volumes with NiiVue (WebGL2), which is loaded only when there is something to show.

import { make } from "./elements.js";
import { colour } from "./palette.js";

let loading;

/** NiiVue's built file puts itself under window.niivue. */
export function niivue() {
  loading ??= new Promise((resolve, reject) => {
    const script = make("script", { src: "vendor/niivue.umd.js" });
    script.onload = () => {
      new window.niivue.Niivue({ logLevel: "silent" }); // the level is that of the whole library
      resolve(window.niivue);
    };
    script.onerror = () => { loading = undefined; reject(new Error("the viewer could not be loaded")); };
    document.head.append(script);
  });
  return loading;
}

const VIEWS = [["All sides", 3], ["Axial", 0], ["Coronal", 1], ["Sagittal", 2], ["3D", 4]];

export async function showVolume({ images, mask, labels, screen, tools, note }) {
  const { Niivue, NVImage } = await niivue();
  const canvas = make("canvas", { className: "volume", tabIndex: 0, role: "img",
    "aria-label": "The image with the mask. Arrow keys move the crosshair, page up and down go through slices." });
  screen.replaceChildren(canvas);
  const viewer = new Niivue({
    logLevel: "silent", dragAndDropEnabled: false, isRadiologicalConvention: true, isOrientationTextVisible: true,
    backColor: [0, 0, 0, 1], crosshairColor: [1, 1, 1, 0.5], crosshairWidth: 0.2, crosshairGap: 4, show3Dcrosshair: true,
    isNearestInterpolation: true, loadingText: "", multiplanarShowRender: 1,
  });
  await viewer.attachToCanvas(canvas);
  const [first] = images.values();
  viewer.addVolume(await NVImage.loadFromFile({ file: first, name: first.name, colormap: "gray" }));
  if (mask) viewer.addVolume(await overlay(NVImage, mask, labels));
  viewer.onLocationChange = (place) => { note.textContent = where(place, labels, Boolean(mask)); };
  viewer.createOnLocationChange();
  listenToKeys(canvas, viewer);
  const look = (event) => { event.preventDefault(); lookAt(viewer, event.detail); };
  screen.addEventListener("look", look);
  tools.replaceChildren(viewChoice(viewer), ...(mask ? [opacity(viewer), ...labelChoice(viewer, labels)] : []), ...channelChoice(viewer, NVImage, images));
  return { kind: "volume", dispose: () => { screen.removeEventListener("look", look); viewer.cleanup(); } };
}

function lookAt(viewer, place) {
  viewer.scene.crosshairPos = viewer.mm2frac(place);
  viewer.drawScene();
  viewer.createOnLocationChange();
}

async function overlay(NVImage, mask, labels) {
  const volume = await NVImage.loadFromFile({ file: mask, name: mask.name, opacity: 0.6 });
  volume.setColormapLabel(colours(labels));
  return volume;
}

/** NiiVue's table of label colours; `only` shows one label alone. */
function colours(labels, only) {
  const shown = labels.map((label, index) => ({ ...label, rgb: colour(index), alpha: only === undefined || only === label.value ? 255 : 0 }));
  const column = (pick) => [0, ...shown.map(pick)];
  return {
    R: column(({ rgb }) => rgb[0]), G: column(({ rgb }) => rgb[1]), B: column(({ rgb }) => rgb[2]),
    A: column(({ alpha }) => alpha), I: column(({ value }) => value), labels: ["", ...shown.map(({ name }) => name)],
  };
}

function where({ mm, values }, labels, masked) {
  const place = `Right–left ${mm[0].toFixed(1)}, back–front ${mm[1].toFixed(1)}, foot–head ${mm[2].toFixed(1)} mm`;
  const value = values?.[0] ? ` · value ${Number(values[0].value.toPrecision(4))}` : "";
  if (!masked) return place + value;
  const label = labels.find((known) => known.value === Math.round(values?.[1]?.value ?? 0));
  return `${place}${value} · here: ${label?.name ?? "background"}`;
}

function viewChoice(viewer) {
  const choice = make("select", {}, ...VIEWS.map(([name, value]) => make("option", { value }, name)));
  choice.addEventListener("change", () => viewer.setSliceType(Number(choice.value)));
  return make("label", {}, "View", choice);
}

function opacity(viewer) {
  const slider = make("input", { type: "range", min: 0, max: 1, step: 0.05, value: 0.6 });
  slider.addEventListener("input", () => viewer.setOpacity(1, Number(slider.value)));
  return make("label", {}, "Mask", slider);
}

function labelChoice(viewer, labels) {
  if (labels.length < 2) return [];
  const choice = make("select", {}, make("option", { value: "" }, "all structures"),
    ...labels.map((label) => make("option", { value: label.value }, `only ${label.name}`)));
  choice.addEventListener("change", () => {
    viewer.volumes[1].setColormapLabel(colours(labels, choice.value ? Number(choice.value) : undefined));
    viewer.updateGLVolume();
  });
  return [make("label", {}, "Show", choice)];
}

function channelChoice(viewer, NVImage, images) {
  if (images.size < 2) return [];
  const choice = make("select", {}, ...[...images.keys()].map((name) => make("option", { value: name }, name)));
  choice.addEventListener("change", async () => {
    const file = images.get(choice.value);
    const volume = await NVImage.loadFromFile({ file, name: file.name, colormap: "gray" });
    viewer.volumes[0] = volume;
    viewer.setVolume(volume, 0);
    viewer.updateGLVolume();
  });
  return [make("label", {}, "Channel", choice)];
}

const STEPS = {
  ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0], PageUp: [0, 0, 1], PageDown: [0, 0, -1],
};

function listenToKeys(canvas, viewer) {
  canvas.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    viewer.moveCrosshairInVox(...step);
  }, { capture: true });
}
