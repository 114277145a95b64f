// Files that an answer can be given as, by the names under which the service knows them.

const KINDS = {
  answer: "Answer (JSON)", mask: "Mask", manifest: "Manifest (JSON)",
  nifti: "NIfTI", nrrd: "NRRD", mha: "MetaImage", seg: "DICOM SEG", rtstruct: "DICOM RTSTRUCT",
  stl: "Surface (STL)", glb: "Surface (GLB)", png: "Slices (PNG)", probabilities: "Probabilities", report: "Report (JSON)",
};
const OF_VOLUMES = ["nifti", "nrrd", "mha", "seg", "rtstruct", "stl", "glb"];
const OF_ALL = ["png", "probabilities", "report"];

/** What can be asked for beside answer and mask. Forms of volumes are not offered for pictures. */
export const choices = (model) => (model.dimension === 2 && /\.(png|tiff?|bmp)$/.test(model.file_ending) ? OF_ALL : [...OF_VOLUMES, ...OF_ALL]);

/** A kind in words; several files of one kind have a suffix. */
export function kindName(name) {
  const kind = Object.keys(KINDS).find((known) => name === known || name.startsWith(`${known}.`) || name.startsWith(`${known}-`));
  return kind ? KINDS[kind] + (name === kind ? "" : `: ${name.slice(kind.length + 1)}`) : name;
}
