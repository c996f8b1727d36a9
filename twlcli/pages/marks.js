"use strict";

// Corrections: what somebody who looks at an image says of a label. They are kept in the browser
// until they are saved as a table, which `--corrections` reads.

const VERDICTS = { y: "present", n: "absent", u: "unknown" };
// A page that is written anew with other images begins anew: its name is in `data-page`.
const MARKS_PAGE = document.getElementById("corrections").dataset.page ?? "";
const MARKS_KEY = `twl corrections ${location.pathname}${MARKS_PAGE}`;
const marks = kept(); // verdicts by image and label, as JSON

const keyOf = (image, label) => JSON.stringify([image, label]);

function kept() {
  try {
    const found = new Map(JSON.parse(localStorage.getItem(MARKS_KEY) ?? "[]"));
    for (const key of found.keys()) JSON.parse(key);
    return found;
  } catch {
    return new Map(); // the browser keeps nothing for this page, or something else
  }
}

/** Marks a label of an image; the same verdict again takes it back. */
function mark(image, label, verdict) {
  const key = keyOf(image, label);
  if (marks.get(key) === verdict) marks.delete(key);
  else marks.set(key, verdict);
  marksChanged();
}

function marksChanged() {
  try {
    localStorage.setItem(MARKS_KEY, JSON.stringify([...marks]));
  } catch {
    // they stay until the page is closed
  }
  for (const each of document.querySelectorAll(".marks")) each.show();
  showMarks();
  document.dispatchEvent(new Event("marks"));
}

function showMarks() {
  const bar = document.getElementById("corrections");
  bar.hidden = marks.size === 0;
  const count = marks.size.toLocaleString("en");
  bar.querySelector("b").textContent = `${count} ${marks.size === 1 ? "correction" : "corrections"}`;
}

/** Has the keys y, n and u in an element mark a label of an image. */
function markKeys(area, image, label) {
  area.addEventListener("keydown", (event) => {
    const verdict = VERDICTS[event.key.toLowerCase()];
    if (verdict === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    mark(image, label, verdict);
  });
}

/** Buttons that mark a label of an image. */
function markButtons(image, label, name) {
  const group = document.createElement("div");
  group.className = "marks";
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", `Is ${name} right?`);
  const words = { present: "yes", absent: "no", unknown: "?" };
  for (const [key, verdict] of Object.entries(VERDICTS)) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: words[verdict], title: `${verdict} (${key})` });
    button.setAttribute("aria-label", `${name}: ${verdict}`);
    button.dataset.verdict = verdict;
    button.addEventListener("click", () => mark(image, label, verdict));
    group.append(button);
  }
  group.show = () => {
    const verdict = marks.get(keyOf(image, label));
    for (const each of group.children) {
      each.setAttribute("aria-pressed", String(each.dataset.verdict === verdict));
    }
  };
  group.show();
  return group;
}

// --- the table, as twlcli/annotations/csv_cells.py writes cells ----------------------------------

// White space as Python has it, and the signs at which spreadsheets begin a formula.
const FORMULA = /^[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000=+\-@\uff1d\uff0b\uff0d\uff20]/;

/** A text that no spreadsheet runs: with `sign` before it where one would. */
function cell(text, sign) {
  let rest = text;
  while (rest.startsWith(sign)) rest = rest.slice(sign.length);
  const safe = FORMULA.test(rest) ? sign + text : text;
  return `"${safe.replaceAll('"', '""')}"`;
}

function correctionsTable() {
  const lines = [...marks].map(([key, verdict]) => {
    const [image, label] = JSON.parse(key);
    return [cell(image, "./"), cell(label, "'"), verdict].join(",");
  });
  return ["image,label,verdict", ...lines, ""].join("\n");
}

function saveCorrections() {
  const table = new Blob([correctionsTable()], { type: "text/csv" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(table);
  link.download = "corrections.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function forgetCorrections() {
  if (!confirm("Forget all corrections of this page?")) return;
  marks.clear();
  marksChanged();
}

document.getElementById("save-corrections").addEventListener("click", saveCorrections);
document.getElementById("forget-corrections").addEventListener("click", forgetCorrections);
showMarks();
