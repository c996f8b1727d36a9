"use strict";

// Images and labels as twlcli/tagging/outputs/review/page.py writes them. A label is its name, or
// its name as it is shown and its name. What is said of an image is kept by pages/marks.js.
const parsed = (id) => JSON.parse(document.getElementById(id).textContent);
const labels = parsed("data-labels").map((each) =>
  typeof each === "string" ? { shown: each, name: each } : { shown: each[0], name: each[1] },
);
const byName = new Map(labels.map((each) => [each.name, each]));
const byPlainName = new Map(labels.map((each) => [each.name.trim().toLowerCase(), each]));
const cards = [];

function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const named = (text) => make("bdi", {}, text);

// --- a label of an image -------------------------------------------------------------------------

/** A box to tick for a label; `probability` is null for one that somebody has added. */
function chip(image, label, probability, isGiven) {
  const box = make("input", { type: "checkbox" });
  const share = probability === null ? [] : [make("span", { className: "share" }, percent(probability))];
  const made = make("label", { className: "chip" }, box, named(label.shown), ...share);
  const key = keyOf(image, label.name);
  made.dataset.label = label.name;
  made.verdict = () => marks.get(key);
  made.say = (verdict) => (verdict === undefined ? marks.delete(key) : marks.set(key, verdict));
  made.show = () => {
    const verdict = made.verdict();
    made.classList.toggle("said", verdict !== undefined);
    made.dataset.verdict = verdict ?? "";
    box.checked = verdict === undefined ? isGiven : verdict === "present";
    box.indeterminate = verdict === "unknown";
    made.title = verdict ?? `not said yet; ${isGiven ? "present" : "absent"} as the model has it`;
  };
  made.settle = () => {
    if (made.verdict() === undefined) made.say(box.checked ? "present" : "absent");
  };
  box.addEventListener("change", () => {
    made.say(box.checked ? "present" : "absent");
    marksChanged();
  });
  box.addEventListener("keydown", (event) => {
    const verdict = VERDICTS[event.key.toLowerCase()];
    if (verdict === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    made.say(verdict);
    marksChanged();
  });
  return made;
}

function percent(probability) {
  if (probability >= 0.995) return "> 99 %";
  return probability < 0.005 ? "< 1 %" : `${Math.round(100 * probability)} %`;
}

// --- an image ------------------------------------------------------------------------------------

function card([name, address, picture, [column, isDoubtful], said, whole], place) {
  const image = whole ?? name;
  const drawn = picture
    ? make("img", { src: picture, alt: name, decoding: "async" })
    : make("span", { className: "missing" }, "no picture in this page");
  const link = make("a", { href: address, target: "_blank", rel: "noopener" }, drawn);
  const file = make("p", { className: "file" }, `${place + 1}. `, named(name));
  const reason = isDoubtful ? "uncertain: is it " : "of the likeliest: is it ";
  const chips = make("ul", { className: "marks chips" });
  const finish = make("button", { type: "button", className: "finish" });
  const made = make(
    "li",
    { className: "image" },
    make("div", {}, link, file),
    make(
      "fieldset",
      {},
      make("legend", { className: "why" }, reason, named(labels[column].shown), "?"),
      chips,
      make("div", { className: "finishing" }, finish, ...(said.length < labels.length ? [search(image, chips)] : [])),
    ),
  );
  for (const [each, probability, isGiven] of said) {
    addChip(image, labels[each], chips, Boolean(isGiven), probability);
  }
  if (!said.some(([each]) => each === column)) addChip(image, labels[column], chips, false);
  addMarked(image, chips);
  made.all = () => [...chips.querySelectorAll(".chip")];
  made.isDone = () => made.all().every((each) => each.verdict() !== undefined);
  // As everything of the class `marks`, it is shown again when something was said.
  chips.show = () => {
    for (const each of made.all()) each.show();
    made.classList.toggle("done", made.isDone());
    finish.textContent = made.isDone() ? "Undo" : "Done";
  };
  finish.addEventListener("click", () => (made.isDone() ? undo(made) : done(made)));
  made.addEventListener("keydown", (event) => onKey(event, made));
  return made;
}

/** Labels that were marked before and are not among those that are listed. */
function addMarked(image, chips) {
  const listed = new Set([...chips.querySelectorAll(".chip")].map((each) => each.dataset.label));
  for (const [key, verdict] of marks) {
    const [of, name] = JSON.parse(key);
    const label = byName.get(name);
    if (of === image && label !== undefined && !listed.has(name)) {
      addChip(image, label, chips, verdict === "present");
    }
  }
}

function addChip(image, label, chips, isGiven, probability = null) {
  const made = chip(image, label, probability, isGiven);
  chips.append(make("li", {}, made));
  return made;
}

/** The field for a label that is not listed. */
function search(image, chips) {
  const field = make("input", { type: "search", placeholder: "Another label" });
  field.setAttribute("list", "vocabulary");
  field.setAttribute("aria-label", "Another label that the image has");
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    event.stopPropagation();
    addNamed(image, chips, field);
  });
  field.addEventListener("input", () => field.setCustomValidity(""));
  return field;
}

function addNamed(image, chips, field) {
  const label = byName.get(field.value) ?? byPlainName.get(field.value.trim().toLowerCase());
  if (label === undefined) {
    field.setCustomValidity("The model has no such label.");
    field.reportValidity();
    return;
  }
  const listed = [...chips.querySelectorAll(".chip")].find((each) => each.dataset.label === label.name);
  (listed ?? addChip(image, label, chips, true)).say("present");
  field.value = "";
  marksChanged();
}

function done(made) {
  for (const each of made.all()) each.settle();
  marksChanged();
  const place = cards.indexOf(made);
  const next = [...cards.slice(place), ...cards.slice(0, place)].find((each) => !each.isDone());
  if (next === undefined) return;
  next.scrollIntoView({ block: "nearest" });
  next.querySelector("input").focus({ preventScroll: true });
}

function undo(made) {
  for (const each of made.all()) each.say(undefined);
  marksChanged();
}

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

function onKey(event, made) {
  if (event.target.type !== "checkbox") return;
  if (event.key === "Enter") {
    event.preventDefault();
    done(made);
  } else if (event.key in STEPS) {
    event.preventDefault();
    const boxes = [...made.querySelectorAll("input[type=checkbox]")];
    boxes[boxes.indexOf(event.target) + STEPS[event.key]]?.focus();
  }
}

// --- beginning -----------------------------------------------------------------------------------

/** Of the class `marks` too, so that it follows what is said. */
const progress = document.getElementById("progress");
progress.classList.add("marks");
progress.show = () => {
  const count = cards.filter((each) => each.isDone()).length;
  progress.textContent = `${count.toLocaleString("en")} of ${cards.length.toLocaleString("en")} done`;
};

cards.push(...parsed("data-images").map(card));
document.getElementById("images").append(...cards);
document
  .getElementById("vocabulary")
  .append(...labels.map(({ name }) => make("option", { value: name })));
for (const each of document.querySelectorAll(".marks")) each.show();
