// The page: takes an image by drop, paste or choice, and shows what the network answers.

import { ImageFault } from "./fault.js";
import { load } from "./student.js";

const BEST = 5;
const byId = (id) => document.getElementById(id);
const percent = (share) => `${(share * 100).toFixed(1)} %`;
const milliseconds = (ms) => (ms < 10 ? ms.toFixed(1) : ms.toFixed(0)) + " ms";

let student;

async function start() {
  try {
    student = await load(showStatus);
  } catch (error) {
    return showFault(`This page cannot start: ${error.message}`);
  }
  byId("about").textContent = description(student);
  byId("file").disabled = false;
  document.body.classList.add("ready");
  showStatus("Ready.");
}

function description({ manifest, labels, version }) {
  const [channels, height, width] = manifest.signature.shape;
  const colours = { 1: "grey", 3: "RGB", 4: "RGBA" }[channels] ?? `${channels} channels`;
  const image = `${height} × ${width} pixels, ${colours}`;
  return [`${labels.length} classes`, image, manifest.precision, `ONNX Runtime Web ${version}`].join(" · ");
}

async function show(file) {
  if (!student || !file) return;
  showStatus(`Reading ${file.name}`);
  try {
    showAnswer(file, await student.classify(file));
    showStatus("");
  } catch (error) {
    byId("result").hidden = true;
    const because = error instanceof ImageFault ? error.message : `cannot be classified (${error.message})`;
    showFault(`${file.name}: ${because}.`);
  }
}

function showAnswer(file, { pixels, logits, probabilities, imageMs, networkMs }) {
  const order = Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a]);
  const [best] = order;
  byId("source").textContent = file.name;
  byId("class").textContent = student.labels[best];
  byId("probability").textContent = percent(probabilities[best]);
  byId("time").textContent = `Image ${milliseconds(imageMs)}, network ${milliseconds(networkMs)}.`;
  byId("best").replaceChildren(...order.slice(0, BEST).map((index) => bar(index, probabilities)));
  byId("all").replaceChildren(...order.map((index) => row(index, probabilities, logits)));
  paint(pixels);
  byId("result").hidden = false;
}

function bar(index, probabilities) {
  const meter = element("meter", { value: probabilities[index], max: 1 });
  const name = element("span", { textContent: student.labels[index] });
  const share = element("span", { textContent: percent(probabilities[index]), className: "number" });
  const item = element("li", {});
  item.append(name, meter, share);
  return item;
}

function row(index, probabilities, logits) {
  const cells = [
    element("td", { textContent: student.labels[index] }),
    element("td", { textContent: probabilities[index].toFixed(4), className: "number" }),
    element("td", { textContent: logits[index].toFixed(6), className: "number" }),
  ];
  const line = element("tr", {});
  line.dataset.index = index;
  line.append(...cells);
  return line;
}

function paint({ width, height, bands, data }) {
  const canvas = byId("seen");
  Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let band = 0; band < 3; band++) {
      image.data[pixel * 4 + band] = data[pixel * bands + (bands < 3 ? 0 : band)];
    }
    image.data[pixel * 4 + 3] = bands === 4 ? data[pixel * 4 + 3] : 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}

function showStatus(text) {
  byId("status").className = "";
  byId("status").textContent = text;
}

function showFault(text) {
  byId("status").className = "fault";
  byId("status").textContent = text;
}

byId("file").addEventListener("change", (event) => {
  show(event.target.files[0]);
  event.target.value = ""; // the same file may be chosen again
});
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
}
for (const kind of ["dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
  });
}
document.addEventListener("drop", (event) => show(event.dataTransfer.files[0]));
document.addEventListener("paste", (event) => show(event.clipboardData.files[0]));

start();
