"use strict";

// The table of labels, of the values that twlcli/paired/page.py writes.
const element = (id) => document.getElementById(id);
const { names, labels: entries } = JSON.parse(element("data-table").textContent);
const AT_ONCE = 200; // rows that are made at a time

const labels = entries.map(([name, support, first, others], place) => ({
  ...{ place, name, support, first, sought: name.toLowerCase() },
  others: others.map(([value, difference, low, high, real]) => ({ value, difference, low, high, real })),
}));
const largest = Math.max(1e-9, ...labels.flatMap(({ others }) => others.map((each) => Math.abs(each.difference))));

const percent = (fraction) => (100 * fraction).toFixed(2);
const whole = (number) => number.toLocaleString("en");

/** A difference in percent with its sign. */
function signed(fraction) {
  const text = percent(Math.abs(fraction));
  if (Number(text) === 0) return text;
  return `${fraction < 0 ? "−" : "+"}${text}`;
}

function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// --- columns -------------------------------------------------------------------------------------

const pairs = names.slice(1).flatMap((name, other) => [
  { key: `value-${other}`, heading: name, of: (label) => label.others[other].value, text: percent, less: true },
  {
    ...{ key: `difference-${other}`, heading: "difference", of: (label) => label.others[other].difference },
    ...{ text: signed, other, title: `${name} − ${names[0]}` },
  },
  {
    ...{ key: `interval-${other}`, heading: "95 %", of: (label) => label.others[other].low },
    text: (low, label) => (low === null ? "not tested" : `${signed(low)} to ${signed(label.others[other].high)}`),
    ...{ title: "sorts by the lower end", ends: true },
  },
]);
const COLUMNS = [
  { key: "name", heading: "label", of: (label) => label.sought, first: "ascending" },
  { key: "support", heading: "images", of: (label) => label.support, text: whole, less: true },
  { key: "first", heading: names[0], of: (label) => label.first, text: percent },
  ...pairs,
];
const view = { key: "difference-0", direction: "descending", room: AT_ONCE };

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The labels that are looked for, in the order of a column; those without a value come last. */
function matching() {
  const part = element("find").value.trim().toLowerCase();
  const onlyReal = element("real").checked;
  const { of } = COLUMNS.find(({ key }) => key === view.key);
  const sign = view.direction === "ascending" ? 1 : -1;
  return labels
    .filter((each) => each.sought.includes(part) && (!onlyReal || each.others.some(({ real }) => real)))
    .sort((a, b) => {
      const [x, y] = [of(a), of(b)];
      if (x === y) return a.place - b.place;
      if (x === null) return 1;
      if (y === null) return -1;
      return sign * compare(x, y);
    });
}

function heading({ key, heading: text, first = "descending", title = "", less }) {
  const arrow = make("span", { className: "arrow" });
  arrow.setAttribute("aria-hidden", "true");
  const button = make("button", { type: "button", title }, make("bdi", {}, text), arrow);
  button.addEventListener("click", () => {
    const turned = { ascending: "descending", descending: "ascending" };
    view.direction = view.key === key ? turned[view.direction] : first;
    view.key = key;
    showTable();
  });
  const cell = make("th", { scope: "col" }, button);
  cell.classList.toggle("name", key === "name");
  cell.classList.toggle("less", Boolean(less));
  cell.dataset.key = key;
  return cell;
}

function showHeadings() {
  for (const cell of element("headings").children) {
    const isSorted = cell.dataset.key === view.key;
    cell.setAttribute("aria-sort", isSorted ? view.direction : "none");
    cell.querySelector(".arrow").textContent = isSorted ? { ascending: "▲", descending: "▼" }[view.direction] : "";
  }
}

/** A bar from the middle: to the right for a gain, to the left for a loss. */
function meter(difference) {
  const bar = make("i", { className: difference < 0 ? "loss" : "gain" });
  bar.style.width = `${((50 * Math.abs(difference)) / largest).toFixed(1)}%`;
  return make("span", { className: "meter" }, bar);
}

function row(label) {
  const first = make("th", { className: "name", scope: "row" }, make("bdi", {}, label.name));
  const cells = COLUMNS.slice(1).map(({ of, text, other, less, ends }) => {
    const value = of(label);
    const cell = make("td", { className: less ? "less" : ends ? "ends" : "" }, text(value, label));
    if (other !== undefined) {
      const { real } = label.others[other];
      cell.append(meter(value));
      cell.classList.toggle("significant", Boolean(real));
      if (real) cell.title = "more than chance";
    }
    return cell;
  });
  return make("tr", { className: "row" }, first, ...cells);
}

function showTable() {
  const found = matching();
  const visible = found.slice(0, view.room);
  element("rows").replaceChildren(...visible.map(row));
  element("more").hidden = visible.length === found.length;
  element("found").textContent =
    found.length === labels.length
      ? `${whole(labels.length)} labels`
      : `${whole(found.length)} of ${whole(labels.length)} labels`;
  showHeadings();
}

function startAgain() {
  view.room = AT_ONCE;
  showTable();
}

function showMore(room) {
  view.room = room;
  showTable();
}

element("headings").append(...COLUMNS.map(heading));
element("find").addEventListener("input", startAgain);
element("real").addEventListener("change", startAgain);
element("search").addEventListener("submit", (event) => event.preventDefault());
element("show-more").addEventListener("click", () => showMore(view.room + AT_ONCE));
element("show-all").addEventListener("click", () => showMore(Infinity));
for (const id of ["search", "table"]) element(id).hidden = false;
showTable();
