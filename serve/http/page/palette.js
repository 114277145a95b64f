// Colours of labels: Okabe and Ito's, which colour-blind people can tell apart, and a pattern for each.
// https://jfly.uni-koeln.de/color/

const COLOURS = [
  [230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0], [204, 121, 167],
];
const PATTERNS = [
  () => true, // solid
  (x, y) => (x + y) % 8 < 4, // rising lines
  (x, y) => (x >> 2) % 2 === 0, // upright lines
  (x, y) => (x % 6 < 3) !== (y % 6 < 3), // chequers
  (x, y) => (y >> 2) % 2 === 0, // level lines
  (x, y) => (((x - y) % 8) + 8) % 8 < 4, // falling lines
  (x, y) => x % 5 < 2 && y % 5 < 2, // dots
];
export const PATTERN_NAMES = [
  "solid", "rising lines", "upright lines", "chequers", "level lines", "falling lines", "dots",
];

export const colour = (index) => COLOURS[index % COLOURS.length];
export const patternName = (index) => PATTERN_NAMES[patternIndex(index)];
export const isInked = (index, x, y) => PATTERNS[patternIndex(index)](x, y);

// After the first seven labels colours return with other patterns.
const patternIndex = (index) => (index + Math.floor(index / COLOURS.length)) % PATTERNS.length;

/** What an RGBA image shows for a label: full colour where its pattern has ink, half of it elsewhere. */
export function paint(pixels, offset, index, { x, y, opacity, edge }) {
  const strength = edge ? 1 : opacity * (isInked(index, x, y) ? 1 : 0.35);
  const rgb = colour(index);
  for (let c = 0; c < 3; c += 1) {
    pixels[offset + c] = Math.round(pixels[offset + c] * (1 - strength) + rgb[c] * strength);
  }
}

export function swatch(index) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [24, 18];
  const context = canvas.getContext("2d");
  const image = context.createImageData(24, 18);
  image.data.fill(255);
  for (let i = 0; i < 24 * 18; i += 1) paint(image.data, 4 * i, index, { x: i % 24, y: Math.floor(i / 24), opacity: 1 });
  context.putImageData(image, 0, 0);
  const box = document.createElement("span");
  box.className = "swatch";
  box.append(canvas);
  return box;
}
