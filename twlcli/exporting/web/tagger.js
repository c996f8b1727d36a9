// Tags images in the browser: each is decoded, cut as the model was trained, and scored.
import * as ort from "./ort.wasm.min.mjs";
import { resample, sourceBox } from "./resample.js";

const SHOWN = 10; // labels that are not given, under a button
const one = (selector) => document.querySelector(selector);
const element = (name, className, text = "") =>
  Object.assign(document.createElement(name), { className, textContent: text });

ort.env.wasm.wasmPaths = new URL("./", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more need headers that plain servers do not send

const ready = Promise.all([
  fetch("./model.json").then((answer) => answer.json()),
  ort.InferenceSession.create("./model.onnx", { executionProviders: ["wasm"] }),
]);
ready.then(
  ([model]) => {
    one("#state").textContent = `${model.labels.length} labels; images stay on this device.`;
    one("#files").disabled = false;
  },
  (error) => { one("#state").textContent = `The model cannot be loaded: ${error.message}`; },
);

// RGBA of a file, upright, with transparency on white.
async function decoded(file) {
  const image = await createImageBitmap(file, { imageOrientation: "from-image" });
  const canvas = Object.assign(document.createElement("canvas"), {
    width: image.width, height: image.height,
  });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, image.width, image.height);
  context.drawImage(image, 0, 0);
  image.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

// The probability of each label of one image file.
export async function probabilities(file) {
  const [{ preprocessing: { resize, crop, interpolation } }, session] = await ready;
  const { data, width, height } = await decoded(file);
  const box = sourceBox(width, height, resize, crop);
  const pixels = resample(data, width, height, box, crop, interpolation);
  const images = new ort.Tensor("uint8", pixels, [1, crop, crop, 3]);
  const { probabilities: found } = await session.run({ images }, ["probabilities"]);
  return [...found.data];
}

function row({ label, probability, threshold }) {
  const line = element("li", "tag");
  const bar = document.createElement("meter");
  Object.assign(bar, { value: probability, min: 0, max: 1 });
  const least = threshold > 1 ? "never given" : `from ${threshold.toFixed(2)}`;
  line.append(element("span", "label", label), bar,
    element("span", "probability", probability.toFixed(2)), element("span", "threshold", least));
  return line;
}

async function show(file) {
  const card = element("article", "image");
  const said = element("div", "said");
  said.append(element("h2", "name", file.name), element("p", "working", "Working …"));
  card.append(said);
  one("#results").prepend(card);
  try {
    const [{ labels, thresholds }] = await ready;
    const found = await probabilities(file);
    const picture = Object.assign(element("img", "picture"), { alt: "" });
    picture.src = URL.createObjectURL(file);
    picture.onload = () => URL.revokeObjectURL(picture.src);
    const all = labels
      .map((label, index) => ({
        label, probability: found[index], threshold: Math.fround(thresholds[index]),
      }))
      .sort((a, b) => b.probability - a.probability);
    const given = all.filter((each) => each.probability >= each.threshold);
    const others = all.filter((each) => each.probability < each.threshold).slice(0, SHOWN);
    const list = element("ul", "given");
    list.append(...given.map(row));
    said.lastChild.replaceWith(given.length ? list : element("p", "none", "No label is given."));
    if (others.length) {
      const more = element("details", "others");
      const rest = element("ul", "");
      rest.append(...others.map(row));
      more.append(element("summary", "", "Not given"), rest);
      said.append(more);
    }
    card.prepend(picture);
  } catch {
    said.lastChild.replaceWith(element("p", "error", "Cannot be read as an image."));
  }
}

async function showAll(files) {
  one("#files").value = "";
  for (const file of files) await show(file); // one after the other: memory of a phone is small
}

one("#files").addEventListener("change", (event) => showAll([...event.target.files]));
const drop = one("#drop");
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  showAll([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => showAll([...event.clipboardData.files]));
