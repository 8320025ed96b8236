// Runs images through an engine with onnxruntime-web and writes the logits as JSON.
// node web_check.mjs RUNTIME.mjs ENGINE IMAGES NAMES, where NAMES is JSON of
// {input, output, type, dims} and IMAGES the bytes of one batch.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [runtime, engine, images, names] = process.argv.slice(2);
const { input, output, type, dims } = JSON.parse(names);
try {
  const ort = await import(pathToFileURL(runtime).href);
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "fatal";
  const session = await ort.InferenceSession.create(Uint8Array.from(readFileSync(engine)), {
    executionProviders: ["wasm"],
  });
  const bytes = Uint8Array.from(readFileSync(images));
  const data = type === "float32" ? new Float32Array(bytes.buffer) : bytes;
  const answers = await session.run({ [input]: new ort.Tensor(type, data, dims) });
  const { data: logits, dims: shape } = answers[output];
  const version = ort.env.versions.web;
  console.log(JSON.stringify({ version, shape, logits: Array.from(logits) }));
} catch (error) {
  console.log(JSON.stringify({ fault: String(error.message ?? error) }));
}
