// Choose a way to show image and mask: NiiVue where there is WebGL2, plain slices where not, the server's PNG else.

import { byId, make, show } from "./elements.js";
import { readPicture, readVolume, showSlices } from "./slices.js";
import { showVolume } from "./volume.js";

const PICTURE = /\.(png|bmp|jpe?g)$/i;
const VOLUME = /\.(nii|nii\.gz|nrrd|mha|mhd)$/i;
let dispose = () => {};

/**
 * Show a mask over its image.
 * images: Map of channel to File, of which the browser still has the files; mask: File or null;
 * labels: the model's; pngs: Files drawn by the server. Resolves with how it was shown.
 */
export async function showImage({ images, mask, labels, pngs }) {
  clearViewer();
  show(byId("viewer"));
  const readable = [...images].filter(([, file]) => isReadable(file));
  for (const way of [volumeView, slicesView, serverView]) {
    try {
      const shown = await way({ images: new Map(readable), mask, labels, pngs });
      if (shown) {
        dispose = shown.dispose ?? dispose;
        return shown.kind;
      }
    } catch (error) {
      console.info(`viewer: ${error.message}`); // the next way is tried
      byId("screen").replaceChildren();
      byId("viewer-tools").replaceChildren();
    }
  }
  return inWordsOnly(mask);
}

export function clearViewer() {
  dispose();
  dispose = () => {};
  for (const id of ["screen", "viewer-tools"]) byId(id).replaceChildren();
  byId("viewer-note").textContent = "";
  show(byId("viewer"), false);
}

const isReadable = (file) => PICTURE.test(file.name) || VOLUME.test(file.name);

/** Whether the browser itself can draw these files; otherwise the server has to be asked for a picture. */
export const canDraw = (files) => [...files].every(isReadable);

export function hasWebGL() {
  const context = document.createElement("canvas").getContext("webgl2");
  context?.getExtension("WEBGL_lose_context")?.loseContext();
  return Boolean(context);
}

async function volumeView({ images, mask, labels }) {
  const volumes = new Map([...images].filter(([, file]) => VOLUME.test(file.name)));
  if (!volumes.size || (mask && !VOLUME.test(mask.name)) || !hasWebGL()) return null;
  return showVolume({ images: volumes, mask, labels, screen: byId("screen"), tools: byId("viewer-tools"), note: byId("viewer-note") });
}

async function slicesView({ images, mask, labels }) {
  const [file] = images.values();
  if (!file || (mask && !PICTURE.test(mask.name) && !VOLUME.test(mask.name))) return null;
  const read = PICTURE.test(file.name) ? readPicture : readVolume;
  const image = await read(file);
  const found = mask ? await (PICTURE.test(mask.name) ? readPicture : readVolume)(mask) : null;
  const kind = showSlices({ image, mask: found, labels, screen: byId("screen"), tools: byId("viewer-tools") });
  if (read === readVolume) byId("viewer-note").textContent = "Axial slices, the patient's right on the left. This browser has no WebGL2: there is no view from other sides.";
  return { kind };
}

async function serverView({ pngs }) {
  if (!pngs.length) return null;
  const urls = pngs.map((file) => URL.createObjectURL(file));
  const picture = make("img", { src: urls[0], alt: "The image with the mask, drawn by the server" });
  byId("screen").replaceChildren(picture);
  if (urls.length > 1) {
    const slider = make("input", { type: "range", min: 0, max: urls.length - 1, value: 0 });
    slider.addEventListener("input", () => { picture.src = urls[slider.value]; });
    byId("viewer-tools").replaceChildren(make("label", {}, "Picture", slider));
  }
  byId("viewer-note").textContent = "Drawn by the server.";
  return { kind: "server", dispose: () => urls.forEach((url) => URL.revokeObjectURL(url)) };
}

function inWordsOnly(mask) {
  byId("screen").replaceChildren(make("p", {}, mask
    ? "This page cannot draw the image here. Download the mask and open it over the image in a viewer, for example 3D Slicer."
    : "There is no mask to show."));
  return "words";
}
