// Columns and rows of the canvas that have the first label's full colour.
() => {
  const canvas = document.querySelector("#screen canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const found = [];
  for (let i = 0; i < canvas.width * canvas.height; i += 1) {
    if (data[4 * i] === 230 && data[4 * i + 1] === 159 && data[4 * i + 2] === 0) {
      found.push([i % canvas.width, Math.floor(i / canvas.width)]);
    }
  }
  return found;
}
