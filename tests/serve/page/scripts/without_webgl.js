// A browser without WebGL.
const { getContext } = HTMLCanvasElement.prototype;
HTMLCanvasElement.prototype.getContext = function replaced(kind, ...rest) {
  return String(kind).startsWith("webgl") ? null : getContext.call(this, kind, ...rest);
};
