"use strict";

// Tables of values as twlcli/report/label_cards.py writes them; only the first is read at once.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const element = (id) => document.getElementById(id);
const later = (id) => {
  let value;
  return () => (value ??= read(id));
};
const { steps, images, labels: entries, whole_names: wholeNames } = read("data-table");
const details = later("data-details");
const examples = later("data-examples");
const AT_ONCE = 200; // rows that are made at a time

// --- numbers, as Python prints them --------------------------------------------------------------

/** A number with so many decimals; half goes to the even digit. */
function fixed(value, digits) {
  const text = value.toFixed(digits); // which rounds half up
  const isHalf = Math.abs((value * 2 ** (digits + 1)) % 2) === 1;
  return isHalf && Number(text.at(-1)) % 2 ? (value - 10 ** -(digits + 2)).toFixed(digits) : text;
}
const percent = (fraction) => (fraction === null ? "–" : fixed(100 * fraction, 2));
const interval = (ends, digits) => ends.map((each) => fixed(100 * each, digits)).join("–");
const whole = (number) => number.toLocaleString("en");
const certainty = (threshold) => (threshold > 1 ? "never" : fixed(threshold, 3));
const ratio = (part, all) => (all > 0 ? part / all : 0);

// --- labels --------------------------------------------------------------------------------------

const labels = entries.map(
  ([name, ap, correct, given, support, unknown, threshold, unknownGiven, trained, ends], place) => ({
    ...{ place, name, ap, correct, given, support, unknown, threshold, unknownGiven, trained, ends },
    low: ends === null ? null : ends[0], // of the interval of AP
    ...scores({ correct, given, support }),
    sought: name.toLowerCase(),
    whole: wholeNames[place] ?? name, // which may be shown cut, or with escapes
  }),
);

function scores({ correct, given, support }) {
  return {
    precision: ratio(correct, given),
    recall: ratio(correct, support),
    f1: ratio(2 * correct, given + support),
  };
}

// --- making elements -----------------------------------------------------------------------------

function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function draw(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const named = (name) => make("bdi", {}, name);

// --- the table -----------------------------------------------------------------------------------

const COLUMNS = [
  { key: "name", heading: "label", first: "ascending" },
  { key: "ap", heading: "AP", text: percent, bar: true },
  { key: "low", heading: "95 %", text: (_, { ends }) => interval(ends, 0), less: true },
  { key: "f1", heading: "F1", text: percent, bar: true },
  { key: "precision", heading: "precision", text: percent, less: true },
  { key: "recall", heading: "recall", text: percent, less: true },
  { key: "support", heading: "images", text: whole },
  { key: "unknown", heading: "unknown", text: whole, less: true },
  { key: "trained", heading: "trained on", text: whole, less: true },
  { key: "threshold", heading: "threshold", text: certainty, less: true },
].filter(
  ({ key }) =>
    (key !== "low" || labels.some((label) => label.ends)) &&
    (key !== "unknown" || labels.some((label) => label.unknown)) &&
    (key !== "trained" || labels.some((label) => label.trained !== null)),
);

// `open` has the row with the card of each label that is open, in the order of opening.
const view = { key: null, direction: null, room: AT_ONCE, open: new Map() };

/** Labels in the order of a column; those without a value come last either way. */
function sorted(list) {
  const { key, direction } = view;
  if (key === null) return list;
  const sign = direction === "ascending" ? 1 : -1;
  return [...list].sort((a, b) => {
    if (a[key] === b[key]) return a.place - b.place;
    if (a[key] === null) return 1;
    if (b[key] === null) return -1;
    if (key === "name") return sign * (a.sought < b.sought ? -1 : a.sought > b.sought ? 1 : 0);
    return sign * (a[key] - b[key]);
  });
}

function matching() {
  const part = element("find").value.trim().toLowerCase();
  return sorted(labels.filter((label) => label.sought.includes(part)));
}

function heading({ key, heading: text, first = "descending", less }) {
  const arrow = make("span", { className: "arrow" });
  arrow.setAttribute("aria-hidden", "true");
  const button = make("button", { type: "button" }, make("span", {}, text), arrow);
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
    const arrow = isSorted ? { ascending: "▲", descending: "▼" }[view.direction] : "";
    cell.querySelector(".arrow").textContent = arrow;
  }
}

function row(label) {
  const open = make("button", { type: "button", className: "open" }, named(label.name));
  open.setAttribute("aria-expanded", "false");
  const first = make("th", { className: "name", scope: "row" }, open);
  const cells = COLUMNS.slice(1).map(({ key, text, bar, less }) => {
    const value = label[key];
    const cell = make("td", {}, value === null ? "–" : text(value, label));
    if (bar) {
      cell.className = "bar";
      cell.style.backgroundSize = `calc(${(value ?? 0).toFixed(3)} * (100% - .6rem)) 3px, calc(100% - .6rem) 3px`;
    }
    cell.classList.toggle("less", Boolean(less));
    return cell;
  });
  const made = make("tr", { className: "row" }, first, ...cells);
  made.dataset.place = label.place;
  made.addEventListener("click", () => toggle(label, made));
  if (view.open.has(label.place)) expand(label, made);
  return made;
}

const rowOf = (label) => element("rows").querySelector(`.row[data-place="${label.place}"]`);

function showTable() {
  const found = matching();
  const visible = found.slice(0, view.room);
  const rows = document.createDocumentFragment();
  for (const label of visible) {
    const made = row(label);
    rows.append(made, ...(made.card ? [made.card] : []));
  }
  element("rows").replaceChildren(rows);
  element("more").hidden = visible.length === found.length;
  element("found").textContent =
    found.length === labels.length
      ? `${whole(labels.length)} labels`
      : `${whole(found.length)} of ${whole(labels.length)} labels`;
  showHeadings();
}

/** Rows after those that are there already, of which the first gets the focus. */
function showMore(room) {
  const before = view.room;
  view.room = room;
  showTable();
  element("rows").querySelectorAll(".row .open")[before]?.focus();
}

// --- opening a label -----------------------------------------------------------------------------

function toggle(label, made) {
  if (view.open.delete(label.place)) {
    made.card.remove();
    made.card = null;
    made.querySelector(".open").setAttribute("aria-expanded", "false");
  } else {
    view.open.set(label.place, cardRow(label));
    expand(label, made);
    made.after(made.card);
  }
  const last = [...view.open.keys()].at(-1);
  const fragment = last === undefined ? "" : new URLSearchParams({ label: labels[last].name });
  history.replaceState(null, "", `#${fragment}`);
}

/** Ties the row of a label to that with its card. */
function expand(label, made) {
  made.card = view.open.get(label.place);
  const open = made.querySelector(".open");
  open.setAttribute("aria-expanded", "true");
  open.setAttribute("aria-controls", made.card.id);
}

function cardRow(label) {
  const cell = make("td", { colSpan: COLUMNS.length }, card(label));
  const made = make("tr", { className: "opened", id: `card-${label.place}` }, cell);
  made.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const own = rowOf(label);
    own.querySelector(".open").focus();
    toggle(label, own);
  });
  return made;
}

/** Opens the label that the address names. */
function openNamed() {
  const name = new URLSearchParams(location.hash.slice(1)).get("label");
  const label = labels.find((each) => each.name === name);
  if (label === undefined || view.open.has(label.place)) return;
  const place = matching().indexOf(label);
  if (place >= view.room) showMore(place + 1);
  const made = rowOf(label);
  if (made === null) return;
  toggle(label, made);
  made.scrollIntoView();
  made.querySelector(".open").focus({ preventScroll: true });
}

// --- a label at every threshold ------------------------------------------------------------------

/** How many images reach each threshold of the grid, from [distance, count, ...] of each. */
function reaching(packed) {
  const counts = new Array(steps + 1).fill(0);
  for (let at = 0, place = 0; at < packed.length; at += 2) {
    place += packed[at];
    counts[place] = packed[at + 1];
  }
  for (let place = steps - 1; place >= 0; place -= 1) counts[place] += counts[place + 1];
  return counts;
}

/** What a label comes to at the grid's thresholds and at its own, in ascending order. */
function settings(label) {
  const { present, absent, unknown } = details()[label.place];
  const [has, lacks, open] = [present, absent, unknown].map(reaching);
  const all = has.map((correct, place) => ({
    threshold: place / steps,
    correct,
    given: correct + lacks[place],
    unknownGiven: open[place],
  }));
  const { threshold, correct, given, unknownGiven } = label;
  const own = { threshold, correct, given, unknownGiven, isFitted: true };
  const after = all.findIndex((each) => each.threshold > threshold);
  all.splice(after < 0 ? all.length : after, 0, own);
  return all.map((each) => ({ ...each, ...scores({ ...each, support: label.support }) }));
}

function bestOf(all) {
  return all.reduce((best, each, place) => (each.f1 > all[best].f1 ? place : best), 0);
}

// --- a label's card ------------------------------------------------------------------------------

function card(label) {
  const made = element("card").content.cloneNode(true).firstElementChild;
  const detail = details()[label.place];
  made.setAttribute("aria-label", label.name);
  made.querySelector("h3").append(named(label.name));
  made.querySelector(".ap").textContent = [
    label.ap === null ? "No AP" : `AP ${percent(label.ap)}`,
    ...(label.ends ? [`95 % interval ${interval(label.ends, 1)}`] : []),
    `${whole(label.support)} of ${whole(images)} images`,
  ].join(", ");
  const all = settings(label);
  const plots = [ranking(label, all), reliability(detail), histogram(label, detail)];
  ["ranking", "reliability", "histogram"].forEach((name, place) => {
    made.querySelector(`[data-plot="${name}"]`).append(plots[place].drawing);
  });
  const words = made.querySelector(".step");
  words.textContent =
    `The slider moves in steps of ${1 / steps} and stops at the label's own threshold; ` +
    "the numbers are exact there.";
  made.querySelector('[data-list="beside"]').append(besideTable(label, detail));
  made.querySelector('[data-list="instead"]').append(insteadTable(label, detail));
  showExamples(made, "wrong", "Given, but absent", "the most probable first", label, detail);
  showExamples(made, "missed", "Present, but not given", "the least probable first", label, detail);
  if (!detail.wrong.length && !detail.missed.length) made.querySelector(".pictures").remove();
  slider(made, label, all, (setting) => {
    for (const plot of plots) plot.show?.(setting);
    judge(made, setting.threshold);
  });
  return made;
}

function slider(made, label, all, moved) {
  const range = made.querySelector("input");
  const fitted = all.findIndex((each) => each.isFitted);
  const best = bestOf(all);
  const numbers = made.querySelectorAll("[data-number]");
  const show = () => {
    const setting = all[range.value];
    const shown = numbersOf(label, setting);
    const value = certainty(setting.threshold);
    made.querySelector(".value").textContent = value;
    for (const each of numbers) each.textContent = shown[each.dataset.number];
    range.setAttribute(
      "aria-valuetext",
      `${value}: precision ${shown.precision}, recall ${shown.recall}, F1 ${shown.f1}`,
    );
    moved(setting);
  };
  const choose = (selector, text, place) => {
    const button = made.querySelector(selector);
    button.textContent = `${text}: ${certainty(all[place].threshold)}`;
    button.addEventListener("click", () => {
      range.value = place;
      show();
    });
  };
  if (!label.unknown) made.querySelector('[data-number="unknown"]').parentElement.remove();
  range.max = all.length - 1;
  range.value = fitted;
  range.addEventListener("input", show);
  choose(".fitted", "its own", fitted);
  choose(".best", "best F1 here", best);
  made.querySelector(".best").hidden = label.support === 0;
  show();
}

function numbersOf(label, setting) {
  const { correct, given, unknownGiven, precision, recall, f1 } = setting;
  return {
    ...{ precision: percent(precision), recall: percent(recall), f1: percent(f1) },
    tagged: `${whole(given + unknownGiven)} of ${whole(images)}`,
    correct: whole(correct),
    wrong: whole(given - correct),
    missed: whole(label.support - correct),
    unknown: whole(unknownGiven),
  };
}

function table(headings, rows) {
  const head = make("tr", {}, ...headings.map((text) => make("th", { scope: "col" }, text)));
  head.firstElementChild.className = "name";
  const body = rows.map(([name, ...cells]) => {
    const first = make("th", { scope: "row", className: "name" }, named(name));
    return make("tr", {}, first, ...cells.map((text) => make("td", {}, text)));
  });
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
}

const share = (part, all) => `${whole(part)} (${fixed(100 * ratio(part, all), 0)} %)`;

function besideTable(label, { beside }) {
  if (!beside.length) return make("p", { className: "how" }, "No other label, neither in the data nor as predicted.");
  return table(
    ["images also with", "in the data", "as predicted"],
    beside.map(([place, inData, predicted]) => [
      labels[place].name,
      share(inData, label.support),
      share(predicted, label.given),
    ]),
  );
}

function insteadTable(label, { instead }) {
  const missed = label.support - label.correct;
  if (!instead.length) {
    const none = missed ? "None: where it is missed, nothing is given wrongly." : "It is never missed.";
    return make("p", { className: "how" }, none);
  }
  return table(
    [`wrong in the ${whole(missed)} images where it is missed`, "images"],
    instead.map(([place, count]) => [labels[place].name, share(count, missed)]),
  );
}

function showExamples(made, kind, title, order, label, detail) {
  const section = made.querySelector(`[data-examples="${kind}"]`);
  const count = kind === "wrong" ? label.given - label.correct : label.support - label.correct;
  const shown = detail[kind];
  const of = count > shown.length ? `${whole(shown.length)} of ${whole(count)}` : whole(count);
  const where = label.threshold > 1 ? title : `${title} at ${certainty(label.threshold)}`;
  const images = `${of} ${count === 1 ? "image" : "images"}, ${order}`;
  section.querySelector("h4").textContent = `${where}: ${shown.length ? images : "none"}`;
  if (shown.length) {
    const list = shown.map(([place, probability]) => example(label, place, probability));
    section.append(make("ul", { className: "examples" }, ...list));
  }
}

function example(label, place, probability) {
  const [name, address, picture, truth, wholeName = name] = examples()[place];
  const has = truth.map((each) => labels[each].name);
  const said = has.length ? `labelled ${has.join(", ")}` : "no label";
  const image = pictureOf(picture || address, `${name}, ${said}`);
  const link = make("a", { href: address, target: "_blank", rel: "noopener" }, image);
  const made = make(
    "li",
    {},
    link,
    make("b", {}, fixed(probability, 3)),
    make("span", { className: "verdict" }),
    make("span", {}, named(said)),
    make("span", { className: "file" }, named(name)),
  );
  made.dataset.probability = probability;
  made.querySelector("a").after(markButtons(wholeName, label.whole, label.name));
  markKeys(made, wholeName, label.whole);
  return made;
}

/** A picture; of images for which the page has no room, the image itself where it still lies. */
function pictureOf(src, alt) {
  const image = make("img", { src, alt, loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => {
    image.replaceWith(make("span", { className: "missing" }, "no picture in this file"));
  });
  return image;
}

/** Pales the examples that are no mistakes at a threshold. */
function judge(made, threshold) {
  for (const kind of ["wrong", "missed"]) {
    for (const each of made.querySelectorAll(`[data-examples="${kind}"] li`)) {
      const isGiven = Number(each.dataset.probability) >= Math.fround(threshold);
      const isRight = isGiven === (kind === "missed");
      each.classList.toggle("right", isRight);
      each.querySelector(".verdict").textContent = isRight ? "right at this threshold" : "";
    }
  }
}

// --- plots ---------------------------------------------------------------------------------------

const SIZE = { width: 290, height: 200, left: 34, right: 10, top: 20, bottom: 34 };
const across = (value) => SIZE.left + value * (SIZE.width - SIZE.left - SIZE.right);
const up = (value) => SIZE.height - SIZE.bottom - value * (SIZE.height - SIZE.top - SIZE.bottom);
const at = (x, y) => `${across(x).toFixed(1)},${up(y).toFixed(1)}`;
const QUARTERS = [0, 0.25, 0.5, 0.75, 1];

/** An empty plot over 0..1 in both directions. */
function frame(description, xTitle, yTitle, { xText, yText }) {
  const drawing = draw("svg", {
    ...{ viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img", "aria-label": description },
  });
  for (const value of QUARTERS) {
    const [x, y] = [across(value), up(value)];
    drawing.append(
      draw("line", { class: "grid", x1: SIZE.left, x2: across(1), y1: y, y2: y }),
      draw("text", { x: SIZE.left - 5, y: y + 4, "text-anchor": "end" }, yText(value)),
      draw("text", { x, y: up(0) + 15, "text-anchor": "middle" }, xText(value)),
    );
  }
  const middle = { x: across(0.5), y: SIZE.height - 4, "text-anchor": "middle", class: "soft" };
  drawing.append(
    draw("line", { class: "axis", x1: SIZE.left, x2: across(1), y1: up(0), y2: up(0) }),
    draw("text", { x: 0, y: 11, class: "soft" }, yTitle),
    draw("text", middle, xTitle),
  );
  return drawing;
}

const inPercent = (value) => String(100 * value);
const plain = (value) => String(value);

/** Precision over recall at all thresholds, with a dot at the one that is set. */
function ranking(label, all) {
  const ap = label.ap === null ? "" : `; AP ${percent(label.ap)}`;
  const drawing = frame(`precision by recall${ap}`, "recall", "precision", {
    xText: inPercent,
    yText: inPercent,
  });
  const points = all.filter(({ given }) => given).map((each) => at(each.recall, each.precision));
  const distinct = points.filter((point, place) => point !== points[place - 1]);
  const dot = draw("circle", { class: "now", r: 4 });
  drawing.append(draw("polyline", { class: "curve", points: distinct.join(" ") }), dot);
  const show = ({ given, recall, precision }) => {
    dot.setAttribute("visibility", given ? "visible" : "hidden");
    dot.setAttribute("cx", across(recall));
    dot.setAttribute("cy", up(precision));
  };
  return { drawing, show };
}

/** Shares of images with the label over the mean probability of each bin. */
function reliability({ bins }) {
  const drawing = frame("share of images with the label by probability", "probability", "share with the label", {
    xText: plain,
    yText: inPercent,
  });
  const most = Math.max(1, ...bins.map(([, , count]) => count));
  drawing.append(
    draw("line", { class: "ideal", x1: across(0), y1: up(0), x2: across(1), y2: up(1) }),
    draw("polyline", { class: "curve", points: bins.map(([p, has]) => at(p, has)).join(" ") }),
  );
  for (const [probability, has, count] of bins) {
    const title = `probability ${fixed(probability, 3)}: ${fixed(100 * has, 1)} % of ${whole(count)} images`;
    const radius = 2 + (4 * Math.log1p(count)) / Math.log1p(most);
    drawing.append(
      draw(
        "circle",
        { class: "dot", cx: across(probability), cy: up(has), r: radius.toFixed(1) },
        draw("title", {}, title),
      ),
    );
  }
  return { drawing };
}

const BARS = 20;

/** Counts in bars of equal width, from counts on the grid. */
function barsOf(packed) {
  const bars = new Array(BARS).fill(0);
  for (let each = 0, place = 0; each < packed.length; each += 2) {
    place += packed[each];
    bars[Math.min(BARS - 1, Math.floor((place * BARS) / steps))] += packed[each + 1];
  }
  return bars;
}

/** How many images have which probability: those with the label up, those without it down. */
function histogram(label, { present, absent }) {
  const [has, lacks] = [barsOf(present), barsOf(absent)];
  const most = Math.max(1, ...has, ...lacks);
  const tall = (count) => (0.5 * Math.log1p(count)) / Math.log1p(most);
  const end = most.toLocaleString("en", { notation: "compact" });
  const text = (value) => ({ 0: end, 0.5: "0", 1: end })[value] ?? "";
  const drawing = frame("images by probability", "probability", "images", { xText: plain, yText: text });
  const width = across(1 / BARS) - across(0) - 1;
  for (let bar = 0; bar < BARS; bar += 1) {
    const x = across(bar / BARS) + 0.5;
    const [above, below] = [tall(has[bar]), tall(lacks[bar])];
    const title = `${(bar / BARS).toFixed(2)} to ${((bar + 1) / BARS).toFixed(2)}: ${whole(has[bar])} with the label, ${whole(lacks[bar])} without`;
    drawing.append(
      draw(
        "g",
        {},
        draw("title", {}, title),
        draw("rect", { class: "has", x, width, y: up(0.5 + above), height: up(0.5) - up(0.5 + above) }),
        draw("rect", { class: "lacks", x, width, y: up(0.5), height: up(0.5 - below) - up(0.5) }),
      ),
    );
  }
  const line = draw("line", { class: "now", y1: up(0), y2: up(1) });
  drawing.append(line);
  const show = ({ threshold }) => {
    const x = across(Math.min(1, threshold));
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
  };
  return { drawing, show };
}

// --- beginning -----------------------------------------------------------------------------------

element("headings").append(...COLUMNS.map(heading));
element("find").addEventListener("input", () => {
  view.room = AT_ONCE;
  showTable();
});
element("search").addEventListener("submit", (event) => event.preventDefault());
element("show-more").addEventListener("click", () => showMore(view.room + AT_ONCE));
element("show-all").addEventListener("click", () => showMore(Infinity));
addEventListener("hashchange", openNamed);
for (const id of ["search", "table"]) element(id).hidden = false;
showTable();
openNamed();
