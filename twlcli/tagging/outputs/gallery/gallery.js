"use strict";

const PER_PAGE = 120; // images in the document at a time, however many there are
const LABELS_SHOWN = 200;
const SCALE = 10000; // of the probabilities in the rows

// A row is [name, [label, probability, ...], place, thumbnail], as page.py writes it, the last only
// where browsers do not show the image; null is the end.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const rows = read("rows").filter((row) => row !== null);
const { labels, others, folders, thumbnails } = read("words");
const numberOf = new Map(labels.map((label, number) => [label, number]));
const element = (id) => document.getElementById(id);

// --- the state is the address's fragment, so that a view can be kept as a bookmark ------------

function stateOf(fragment) {
  const values = new URLSearchParams(fragment.replace(/^#/, ""));
  const number = (key, otherwise) => {
    const value = parseFloat(values.get(key));
    return Number.isFinite(value) ? value : otherwise;
  };
  const sort = values.get("sort");
  return {
    tags: [...new Set(values.getAll("tag"))],
    min: number("min", 0),
    max: number("max", 1),
    sort: ["most", "least"].includes(sort) ? sort : "file",
    name: values.get("name") ?? "",
    untagged: values.has("untagged"),
    correct: values.has("correct"),
    page: Math.max(1, Math.floor(number("page", 1))),
  };
}

function fragmentOf(state) {
  const values = new URLSearchParams();
  for (const tag of state.tags) values.append("tag", tag);
  if (state.min !== 0) values.set("min", state.min);
  if (state.max !== 1) values.set("max", state.max);
  if (state.sort !== "file") values.set("sort", state.sort);
  if (state.name) values.set("name", state.name);
  if (state.untagged) values.set("untagged", "1");
  if (state.correct) values.set("correct", "1");
  if (state.page > 1) values.set("page", state.page);
  return values.toString();
}

let state = stateOf(location.hash);

function change(changes) {
  const next = { page: 1, ...changes };
  history.replaceState(null, "", "#" + fragmentOf({ ...state, ...next }));
  state = stateOf(location.hash);
  show();
}

function toggle(label) {
  const without = state.tags.filter((tag) => tag !== label);
  change({ tags: without.length < state.tags.length ? without : [...state.tags, label] });
}

// --- which images, and in which order -----------------------------------------------------------

/** How certain a row's tags are that the filter asks for; undefined where it does not match. */
function certainty(row, wanted) {
  const given = row[1];
  if (state.untagged) return given.length === 0 ? 0 : undefined;
  const [low, high] = [state.min * SCALE, state.max * SCALE];
  const inside = (probability) => probability >= low && probability <= high;
  if (wanted.length === 0) {
    let best;
    for (let at = 1; at < given.length; at += 2) {
      if (inside(given[at]) && !(given[at] <= best)) best = given[at];
    }
    return best ?? (state.min === 0 && state.max === 1 ? 0 : undefined);
  }
  let least = SCALE;
  for (const label of wanted) {
    let found;
    for (let at = 0; at < given.length; at += 2) {
      if (given[at] === label) found = given[at + 1];
    }
    if (found === undefined || !inside(found)) return undefined;
    least = Math.min(least, found);
  }
  return least;
}

function matches() {
  const wanted = state.tags.map((tag) => numberOf.get(tag) ?? -1);
  const part = state.name.toLowerCase();
  const found = [];
  rows.forEach((row, place) => {
    if (part && !textOf(row[0]).toLowerCase().includes(part)) return;
    const value = certainty(row, wanted);
    if (value !== undefined) found.push([value, place]);
  });
  if (state.sort === "most") found.sort((a, b) => b[0] - a[0] || a[1] - b[1]);
  if (state.sort === "least") found.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return found.map(([, place]) => rows[place]);
}

/** A name as `twl tag` writes it into tables; null where its bytes are not UTF-8. */
function nameOf(quoted) {
  try {
    return decodeURIComponent(quoted);
  } catch {
    return null;
  }
}

/** A name as text; bytes that are not UTF-8 are shown as replacement characters. */
function textOf(quoted) {
  const name = nameOf(quoted);
  if (name !== null) return name;
  const bytes = [];
  for (let at = 0; at < quoted.length; at += 1) {
    const escaped = quoted[at] === "%";
    bytes.push(escaped ? parseInt(quoted.slice(at + 1, at + 3), 16) : quoted.charCodeAt(at));
    if (escaped) at += 2;
  }
  return new TextDecoder().decode(new Uint8Array(bytes));
}

function addressOf([name, , place]) {
  if (typeof place === "number") return folders[place] + name;
  return place; // null: the image has no file of its own
}

const thumbnailOf = ([, , , thumbnail]) => (thumbnail ? thumbnails + thumbnail : null);

// --- the document -------------------------------------------------------------------------------

function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const percent = (probability) => `${(probability / (SCALE / 100)).toFixed(0)}\u00a0%`;

function card(row) {
  const name = textOf(row[0]);
  const tags = make("ul", { className: "tags" });
  const words = [];
  for (let at = 0; at < row[1].length; at += 2) {
    const label = labels[row[1][at]];
    const probability = row[1][at + 1];
    words.push(label);
    const number = make("span", { className: "number" }, percent(probability));
    const button = make("button", { type: "button" }, make("bdi", {}, label), " ", number);
    button.setAttribute("aria-pressed", String(state.tags.includes(label)));
    const inside = probability >= state.min * SCALE && probability <= state.max * SCALE;
    button.classList.toggle("outside", !inside);
    button.addEventListener("click", () => toggle(label));
    tags.append(tag(row, label, button));
  }
  const file = make("p", { className: "file" }, make("bdi", {}, name));
  const opener = make("button", { type: "button", className: "correct" });
  const head = make("div", { className: "head" }, file, opener);
  const made = make("li", {}, picture(addressOf(row), thumbnailOf(row), name, words), head, tags);
  correctable(made, row, tags, opener);
  return made;
}

// --- corrections: marks.js keeps them -----------------------------------------------------------

const SIGNS = { present: "\u2713", absent: "\u2717", unknown: "?" };
const opened = new Set(); // rows whose tags are being corrected
let markedLabels = labelsByImage();

/** The labels of which something was said, by image. */
function labelsByImage() {
  const found = new Map();
  for (const key of marks.keys()) {
    const [image, label] = JSON.parse(key);
    if (!found.has(image)) found.set(image, []);
    found.get(image).push(label);
  }
  return found;
}

/** One tag of an image, which shows what was said of it; in it, the keys y, n and u say it. */
function tag(row, label, button) {
  const image = nameOf(row[0]);
  const made = make("li", {}, button);
  made.dataset.label = label;
  if (image !== null) markKeys(made, image, label);
  made.show = (isOpen) => {
    const verdict = marks.get(keyOf(image, label));
    button.querySelector(".sign")?.remove();
    made.dataset.mark = verdict ?? "";
    if (verdict !== undefined) {
      const sign = make("span", { className: "sign" }, SIGNS[verdict]);
      sign.setAttribute("role", "img");
      sign.setAttribute("aria-label", `marked ${verdict}`);
      button.prepend(sign);
    }
    const buttons = made.querySelector(".marks");
    if (!isOpen) buttons?.remove();
    else if (!buttons && image !== null) made.append(markButtons(image, label, label));
  };
  return made;
}

/** Has the card of an image show what was said of its tags, and take more where it is opened. */
function correctable(made, row, tags, opener) {
  const image = nameOf(row[0]);
  opener.addEventListener("click", () => {
    if (!opened.delete(row)) opened.add(row);
    made.show();
  });
  made.show = () => {
    const isOpen = state.correct || opened.has(row);
    made.classList.toggle("correcting", isOpen);
    opener.hidden = state.correct;
    opener.textContent = isOpen ? "Done" : "Correct";
    opener.setAttribute("aria-label", `${opener.textContent}: ${textOf(row[0])}`);
    const there = new Set([...tags.children].map((each) => each.dataset.label));
    for (const label of markedLabels.get(image) ?? []) {
      if (!there.has(label)) tags.append(missingTag(made, row, label));
    }
    for (const each of tags.children) each.show(isOpen);
    const field = made.querySelector(".add");
    if (!isOpen) field?.remove();
    else if (!field) made.append(image === null ? unnameable() : adding(image));
  };
  made.show();
}

/** A tag that the model did not give; a click opens the card. */
function missingTag(made, row, label) {
  const button = make("button", { type: "button", className: "added" }, make("bdi", {}, label));
  button.addEventListener("click", () => {
    opened.add(row);
    made.show();
  });
  return tag(row, label, button);
}

function unnameable() {
  const why = "The name of this file is not UTF-8: a table of corrections cannot hold it.";
  return make("p", { className: "add" }, why);
}

/** A field for a label that an image has and was not given. */
function adding(image) {
  fillVocabulary();
  const field = make("input", { type: "text", placeholder: "a tag that is missing" });
  field.setAttribute("aria-label", `Add a tag that ${image} lacks`);
  field.setAttribute("list", "vocabulary");
  field.autocomplete = "off";
  field.addEventListener("input", () => field.setCustomValidity(""));
  const form = make("form", { className: "add" }, field, make("button", {}, "Add"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const label = known(field.value);
    if (label === undefined) {
      field.setCustomValidity("The model has no such label");
      field.reportValidity();
      return;
    }
    field.value = "";
    if (marks.get(keyOf(image, label)) !== "present") mark(image, label, "present");
  });
  return form;
}

/** The label that a text means; undefined where the model has none of that name. */
function known(text) {
  const all = [...labels, ...others];
  const wanted = text.trim();
  if (all.includes(text)) return text;
  return all.find((each) => each.trim().toLowerCase() === wanted.toLowerCase());
}

function fillVocabulary() {
  const list = element("vocabulary");
  if (list.children.length) return;
  const names = [...labels, ...others].sort((a, b) => a.localeCompare(b));
  list.append(...names.map((label) => make("option", { value: label })));
}

document.addEventListener("marks", () => {
  markedLabels = labelsByImage();
  for (const each of element("images").children) each.show();
});

// --- the rest of the document -------------------------------------------------------------------

function picture(address, thumbnail, name, words) {
  const image = make("img", {
    loading: "lazy",
    decoding: "async",
    alt: words.length ? words.join(", ") : "no tags",
  });
  image.addEventListener("error", () => image.replaceWith("not shown by this browser"));
  image.src = thumbnail ?? address;
  if (address === null) return make("div", { className: "picture" }, image); // inside an archive
  const link = make("a", { className: "picture", href: address, target: "_blank" }, image);
  link.setAttribute("aria-label", `${name}: open`);
  return link;
}

function showLabels(found) {
  const counts = new Array(labels.length).fill(0);
  for (const row of found) {
    for (let at = 0; at < row[1].length; at += 2) counts[row[1][at]] += 1;
  }
  const part = element("find").value.trim().toLowerCase();
  const chosen = new Set(state.tags);
  const order = labels
    .map((label, number) => number)
    .filter((number) => labels[number].toLowerCase().includes(part) || chosen.has(labels[number]))
    .sort((a, b) => chosen.has(labels[b]) - chosen.has(labels[a]) || counts[b] - counts[a]);
  const focused = document.activeElement?.dataset?.label;
  element("labels").replaceChildren(
    ...order.slice(0, LABELS_SHOWN).map((number) => {
      const label = labels[number];
      const box = make("input", { type: "checkbox", checked: chosen.has(label) });
      box.dataset.label = label;
      box.addEventListener("change", () => toggle(label));
      const word = make("bdi", { className: "word" }, label);
      const count = make("span", { className: "number" }, counts[number].toLocaleString("en"));
      return make("li", {}, make("label", {}, box, word, count));
    }),
  );
  if (focused !== undefined) {
    for (const box of element("labels").querySelectorAll("input")) {
      if (box.dataset.label === focused) box.focus();
    }
  }
  const hidden = order.length - LABELS_SHOWN;
  element("more").textContent = hidden > 0 ? `and ${hidden.toLocaleString("en")} more` : "";
}

function show() {
  const found = matches();
  const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
  const page = Math.min(state.page, pages);
  element("images").replaceChildren(
    ...found.slice((page - 1) * PER_PAGE, page * PER_PAGE).map(card),
  );
  const unknown = state.tags.filter((tag) => !numberOf.has(tag));
  element("count").textContent =
    `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} images` +
    (unknown.length ? `; no image has the tag ${unknown.join(", ")}` : "");
  element("page").textContent = `page ${page.toLocaleString("en")} of ${pages.toLocaleString("en")}`;
  element("previous").disabled = page <= 1;
  element("next").disabled = page >= pages;
  for (const id of ["min", "max", "sort", "name"]) {
    if (document.activeElement !== element(id)) element(id).value = state[id];
  }
  element("untagged").checked = state.untagged;
  element("correct").checked = state.correct;
  showLabels(found);
}

function turn(step) {
  change({ page: state.page + step });
  element("images").focus({ preventScroll: true });
  scrollTo(0, 0);
}

function number(id, otherwise) {
  const value = parseFloat(element(id).value);
  change({ [id]: Number.isFinite(value) ? value : otherwise });
}

element("min").addEventListener("input", () => number("min", 0));
element("max").addEventListener("input", () => number("max", 1));
element("sort").addEventListener("change", () => change({ sort: element("sort").value }));
element("name").addEventListener("input", () => change({ name: element("name").value }));
element("untagged").addEventListener("change", () => {
  change({ untagged: element("untagged").checked });
});
element("correct").addEventListener("change", () => {
  change({ correct: element("correct").checked, page: state.page });
});
element("find").addEventListener("input", () => showLabels(matches()));
element("reset").addEventListener("click", () => {
  history.replaceState(null, "", "#");
  state = stateOf("");
  show();
});
element("previous").addEventListener("click", () => turn(-1));
element("next").addEventListener("click", () => turn(1));
element("filters").addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", () => {
  if (location.hash === "#images") return; // the link for keyboards
  state = stateOf(location.hash);
  show();
});
show();
