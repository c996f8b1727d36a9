"use strict";

// The table as twlcli/training/run_page_parts.py writes it.
const element = (id) => document.getElementById(id);
const { columns, labels, whole } = JSON.parse(element("data-table").textContent);
const AT_ONCE = 200; // rows that are made at a time
const rows = labels.map(([name, ...values], place) => ({
  ...{ name, values, place },
  sought: name.toLowerCase(),
}));

// What a reader has chosen outlasts the page's loading itself again.
const KEY = `twl ${location.pathname}`;
const view = { column: null, direction: null, room: AT_ONCE, find: "", top: null, left: 0 };
try {
  Object.assign(view, JSON.parse(sessionStorage.getItem(KEY)));
} catch {
  // No storage, or something else in it: the page begins anew.
}
function keep() {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(view));
  } catch {
    // It begins anew each time.
  }
}

// --- the table -----------------------------------------------------------------------------------

function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const count = (number) => number.toLocaleString("en");

function valueText(kind, value) {
  if (value === null) return "–";
  if (kind === "images") return count(value);
  const sign = kind === "change" && value >= 0 ? "+" : "";
  return sign + value.toFixed(2).replace("-", "−");
}

/** Rows in the order of a column, -1 for the names; those without a value come last either way. */
function sorted(list) {
  const { column, direction } = view;
  if (column === null || column >= columns.length) return list;
  const sign = direction === "ascending" ? 1 : -1;
  return [...list].sort((a, b) => {
    if (column < 0) return sign * (a.sought < b.sought ? -1 : a.sought > b.sought ? 1 : 0);
    const [one, other] = [a.values[column], b.values[column]];
    if (one === other) return a.place - b.place;
    if (one === null) return 1;
    if (other === null) return -1;
    return sign * (one - other);
  });
}

function heading(name, column, less) {
  const isSorted = view.column === column;
  const arrow = make("span", {
    className: "arrow",
    textContent: isSorted ? { ascending: "▲", descending: "▼" }[view.direction] : "",
  });
  arrow.setAttribute("aria-hidden", "true");
  const button = make("button", { type: "button" }, make("span", {}, name), arrow);
  button.addEventListener("click", () => {
    const turned = { ascending: "descending", descending: "ascending" };
    view.direction = isSorted ? turned[view.direction] : column < 0 ? "ascending" : "descending";
    view.column = column;
    show();
    element("headings").children[column + 1].firstChild.focus();
  });
  const cell = make("th", { scope: "col" }, button);
  cell.classList.toggle("name", column < 0);
  cell.classList.toggle("less", Boolean(less));
  cell.setAttribute("aria-sort", isSorted ? view.direction : "none");
  return cell;
}

function cell({ kind, less }, value) {
  const made = make("td", {}, valueText(kind, value));
  made.classList.toggle("less", less);
  if (kind === "percent" && value !== null) {
    made.classList.add("bar");
    const full = "calc(100% - .6rem)";
    made.style.backgroundSize = `calc(${(value / 100).toFixed(3)} * (100% - .6rem)) 3px, ${full} 3px`;
  }
  if (kind === "change" && value) made.classList.add(value > 0 ? "more" : "fewer");
  return made;
}

function row({ name, values, place }) {
  const first = make("th", { className: "name", scope: "row" }, make("bdi", {}, name));
  if (whole[place]) first.title = whole[place];
  const cells = columns.map((column, number) => cell(column, values[number]));
  return make("tr", { className: "row" }, first, ...cells);
}

function show() {
  const part = view.find.trim().toLowerCase();
  const found = sorted(rows.filter((each) => each.sought.includes(part)));
  element("rows").replaceChildren(...found.slice(0, view.room).map(row));
  element("headings").replaceChildren(
    heading("label", -1),
    ...columns.map((column, number) => heading(column.heading, number, column.less)),
  );
  element("more").hidden = found.length <= view.room;
  element("found").textContent =
    found.length === rows.length
      ? `${count(rows.length)} labels`
      : `${count(found.length)} of ${count(rows.length)} labels`;
  keep();
}

element("search").hidden = false;
element("search").addEventListener("submit", (event) => event.preventDefault());
element("find").value = view.find;
element("find").addEventListener("input", ({ target }) => {
  view.find = target.value;
  view.room = AT_ONCE;
  show();
});
const showMore = (room) => () => {
  view.room = room();
  show();
};
element("show-more").addEventListener("click", showMore(() => view.room + AT_ONCE));
element("show-all").addEventListener("click", showMore(() => rows.length));
show();

// --- following the run ---------------------------------------------------------------------------

const { state, written, reload, silent, epoch } = element("status").dataset;

function words(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/** A run that was killed cannot say so: the time since the page was written hints at it. */
function tellAge() {
  const age = Math.max(0, Date.now() / 1000 - Number(written));
  const isSilent = state === "going on" && age > Number(silent);
  element("status").classList.toggle("silent", isSilent);
  const usual = epoch ? `, where an epoch takes ${epoch}` : "";
  const doubt = isSilent ? `${usual}: unless an epoch takes so long, it has been killed` : "";
  element("age").textContent = `, ${words(age)} ago${doubt}`;
}

/** Loads the page again, unless nobody sees it or somebody is selecting or typing. */
function again() {
  const isBusy =
    document.hidden ||
    document.activeElement === element("find") ||
    !(getSelection()?.isCollapsed ?? true);
  if (isBusy) return;
  Object.assign(view, { top: scrollY, left: element("table").scrollLeft });
  keep();
  location.reload();
}

tellAge();
if (view.top !== null) {
  scrollTo(0, view.top);
  element("table").scrollLeft = view.left;
  view.top = null;
  keep();
}
if (state === "going on") {
  setInterval(tellAge, 1000);
  setInterval(again, 1000 * Number(reload));
}
