// Slices on a plain canvas: for pictures, and for volumes where there is no WebGL2. Labels have patterns here.

import { make } from "./elements.js";
import { paint } from "./palette.js";
import { niivue } from "./volume.js";

/** A picture as one slice: {width, height, depth, aspect, rgb(z), value(z, i), start}. */
export async function readPicture(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const canvas = make("canvas", { width: bitmap.width, height: bitmap.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  return {
    width: bitmap.width, height: bitmap.height, depth: 1, aspect: 1,
    rgb: (_, i) => [data[4 * i], data[4 * i + 1], data[4 * i + 2]], value: (_, i) => data[4 * i],
  };
}

/** A volume as axial slices, as a radiologist looks at them: right on the left, front above. */
export async function readVolume(file) {
  const { NVImage } = await niivue();
  const volume = await NVImage.loadFromFile({ file, name: file.name });
  const [, width, height, depth] = volume.dimsRAS;
  const [sx, sy, sz] = volume.img2RASstep;
  const start = volume.img2RASstart.reduce((sum, value) => sum + value, 0);
  const at = (z, i) => volume.img[start + (width - 1 - (i % width)) * sx + (height - 1 - Math.floor(i / width)) * sy + z * sz];
  const { cal_min: low, cal_max: high, hdr } = volume;
  const slope = hdr.scl_slope || 1;
  const grey = (stored) => Math.max(0, Math.min(255, (255 * (stored * slope + hdr.scl_inter - low)) / (high - low || 1)));
  return {
    width, height, depth, aspect: volume.pixDimsRAS[2] / volume.pixDimsRAS[1],
    rgb: (z, i) => new Array(3).fill(grey(at(z, i))), value: (z, i) => Math.round(at(z, i) * slope + hdr.scl_inter),
  };
}

/** Draw slices with tools to go through them. */
export function showSlices({ image, mask, labels, screen, tools }) {
  if (mask && (mask.width !== image.width || mask.height !== image.height || mask.depth !== image.depth)) {
    throw new Error("image and mask differ in size");
  }
  const state = { z: fullestSlice(mask, image.depth), opacity: 0.6, only: undefined };
  const canvas = make("canvas", { className: "picture", width: image.width, height: image.height, role: "img", "aria-label": "The image with the mask" });
  canvas.style.aspectRatio = `${image.width} / ${image.height * image.aspect}`;
  canvas.style.objectFit = image.aspect === 1 ? "contain" : "fill";
  screen.replaceChildren(canvas);
  const draw = () => drawSlice(canvas, { image, mask, labels, ...state });
  const change = (name) => (value) => { state[name] = value; draw(); };
  tools.replaceChildren(
    ...(image.depth > 1 ? [slider("Slice", { min: 0, max: image.depth - 1, step: 1, value: state.z }, change("z"))] : []),
    ...(mask ? [slider("Mask", { min: 0, max: 1, step: 0.05, value: state.opacity }, change("opacity"))] : []));
  draw();
  return image.depth > 1 ? "slices" : "picture";
}

function slider(text, properties, use) {
  const input = make("input", { type: "range", ...properties });
  input.value = properties.value; // after min and max, which bound it
  input.addEventListener("input", () => use(Number(input.value)));
  return make("label", {}, text, input);
}

function fullestSlice(mask, depth) {
  let [best, most] = [Math.floor(depth / 2), 0];
  for (let z = 0; mask && z < depth; z += 1) {
    let count = 0;
    for (let i = 0; i < mask.width * mask.height; i += 1) count += mask.value(z, i) > 0;
    if (count > most) [best, most] = [z, count];
  }
  return best;
}

function drawSlice(canvas, { image, mask, labels, z, opacity }) {
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(image.width, image.height);
  const indices = new Map(labels.map((label, index) => [label.value, index]));
  for (let i = 0; i < image.width * image.height; i += 1) {
    const [r, g, b] = image.rgb(z, i);
    pixels.data.set([r, g, b, 255], 4 * i);
    const index = mask ? indices.get(mask.value(z, i)) : undefined;
    if (index === undefined || opacity === 0) continue;
    const [x, y] = [i % image.width, Math.floor(i / image.width)];
    paint(pixels.data, 4 * i, index, { x, y, opacity, edge: isEdge(mask, z, i, x, y) });
  }
  context.putImageData(pixels, 0, 0);
}

function isEdge(mask, z, i, x, y) {
  const own = mask.value(z, i);
  return x === 0 || y === 0 || x === mask.width - 1 || y === mask.height - 1
    || [i - 1, i + 1, i - mask.width, i + mask.width].some((other) => mask.value(z, other) !== own);
}
