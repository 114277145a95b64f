// Small helpers for elements. Text is always set as text, never as HTML.

export const byId = (id) => document.getElementById(id);

/** Make an element: properties, then children (elements or text). Names with a dash are attributes. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else if (name === "tone") element.dataset.tone = value;
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const show = (element, visible = true) => { element.hidden = !visible; };

/** Tell people who listen to the page. */
export function announce(text) {
  byId("live").textContent = text;
}

/** A problem in words: what happened, what to do, and the code for whoever is asked for help. */
export function problemNotice({ title, detail, remedy, code, members = {} }) {
  const box = make("div", { className: "notice", tone: "bad" }, make("p", {}, make("b", {}, title || "That did not work")));
  for (const text of [detail, remedy]) if (text) box.append(make("p", {}, text));
  const values = comparison(members);
  if (values) box.append(values);
  const id = members.instance ? ` · request ${members.instance}` : "";
  box.append(make("p", { className: "hint" }, make("code", {}, `${code}${id}`)));
  return box;
}

function comparison({ observed, expected }) {
  const known = [["Seen", observed], ["Expected", expected]].filter(([, value]) => value !== undefined && value !== null);
  if (!known.length) return null;
  return make("dl", { className: "numbers" }, ...known.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, inWords(value))]));
}

/** Any JSON value as short text. */
export function inWords(value) {
  if (Array.isArray(value)) return value.map(inWords).join(", ");
  if (value !== null && typeof value === "object") {
    return Object.entries(value).map(([name, inner]) => `${name.replaceAll("_", " ")} ${inWords(inner)}`).join("; ");
  }
  return typeof value === "number" ? number(value) : String(value);
}

export function number(value, digits = 4) {
  return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(digits)));
}

export function size(bytes) {
  const units = ["bytes", "KiB", "MiB", "GiB"];
  const power = bytes > 0 ? Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1) : 0;
  return `${number(bytes / 1024 ** power, 3)} ${units[power]}`;
}
