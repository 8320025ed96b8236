// The network in the browser: onnxruntime-web in WebAssembly, in one thread, from this folder alone.

import { prepared } from "./images.js";
import { planes } from "./pixels.js";

const RUNTIME = new URL("./onnxruntime-web/", import.meta.url).href;

// Load the engine; `onStep` is told what is being loaded.
export async function load(onStep) {
  onStep("Loading its description");
  const manifest = await (await fetched("manifest.json")).json();
  const labels = (await (await fetched("labels.txt")).text()).split("\n").slice(0, -1);
  const { name, onnxruntime_web: version } = await (await fetched("web.json")).json();
  onStep("Loading the network");
  const engine = await (await fetched(manifest.engine)).arrayBuffer();
  await checkDigest(engine, manifest.sha256);
  onStep("Loading ONNX Runtime");
  const ort = await import("./onnxruntime-web/ort.wasm.min.mjs");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = RUNTIME;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(new Uint8Array(engine), {
    executionProviders: ["wasm"],
  });
  await session.run({ [manifest.signature.input]: blank(manifest.signature, ort) }); // the first is slow
  return { manifest, labels, name, version, classify: (file) => classify(file, session, ort, manifest) };
}

// {pixels, logits, probabilities, imageMs, networkMs} of an image in a Blob.
async function classify(file, session, ort, manifest) {
  const { signature } = manifest;
  const begin = performance.now();
  const pixels = await prepared(file, manifest);
  const tensor = asTensor(pixels, signature, ort);
  const middle = performance.now();
  const answers = await session.run({ [signature.input]: tensor });
  const end = performance.now();
  const logits = Array.from(answers[signature.output].data);
  return {
    pixels, logits, probabilities: softmax(logits), imageMs: middle - begin, networkMs: end - middle,
  };
}

function blank(signature, ort) {
  const [bands, height, width] = signature.shape;
  return asTensor({ width, height, bands, data: new Uint8Array(width * height * bands) }, signature, ort);
}

function asTensor(pixels, { input_type: kind, shape }, ort) {
  const [channels, height, width] = shape;
  if (kind === "UINT8") {
    return new ort.Tensor("uint8", Uint8Array.from(pixels.data), [1, height, width, channels]);
  }
  return new ort.Tensor("float32", planes(pixels), [1, channels, height, width]);
}

function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - largest));
  const sum = powers.reduce((one, other) => one + other, 0);
  return powers.map((power) => power / sum);
}

async function fetched(name) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Error(`${name}: is not beside this page (${answer.status})`);
  return answer;
}

async function checkDigest(engine, sha256) {
  if (!crypto.subtle) return; // browsers offer it on https and on this machine only
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", engine));
  const text = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (text !== sha256) throw new Error("the engine is not the one that manifest.json describes");
}
