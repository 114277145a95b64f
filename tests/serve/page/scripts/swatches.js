// Pixels of the signs of many labels.
async () => {
  const { swatch } = await import("./palette.js");
  const pixels = (canvas) => [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
  return [...Array(49).keys()].map((index) => pixels(swatch(index).firstChild).join());
}
