// PNG files decoded here, since a browser's canvas loses the colours of transparent pixels and
// shifts others by colour profiles. Gives what validation sees: samples as they are stored,
// 16 bits of grey scaled to 8, of colour cut to 8.
// PNG Specification, third edition: 5 (chunks), 8 (interlacing), 9 (filters), 11.3.1.1 (tRNS).

import { ImageFault } from "./fault.js";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const SAMPLES = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }; // colour type -> samples of a pixel
const DEPTHS = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };
const PASSES = [
  [0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2],
]; // of Adam7: first x, first y, step in x, step in y
const BROKEN = new ImageFault("is no readable image", "repair it, or choose another");

export function isPng(bytes) {
  return SIGNATURE.every((value, at) => bytes[at] === value);
}

// {width, height, isGrey, hasAlpha, data}: data of RGBA, and in grey files R = G = B.
export async function decodePng(bytes, mostPixels) {
  const { header, palette, transparency, parts } = chunks(bytes);
  const { width, height, depth, kind } = header;
  if (!DEPTHS[kind]?.includes(depth) || !width || !height) throw BROKEN;
  if (kind === 3 && !palette) throw BROKEN;
  if (width * height > mostPixels) {
    throw new ImageFault(`has more than ${mostPixels} pixels`, "scale it down");
  }
  const samples = unfiltered(await inflated(parts), header);
  return { width, height, ...coloured(samples, header, palette, transparency) };
}

function chunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const file = { parts: [] };
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const content = bytes.subarray(at + 8, at + 8 + length);
    if (content.length < length) throw BROKEN;
    if (name === "IHDR") {
      file.header = {
        width: view.getUint32(at + 8), height: view.getUint32(at + 12),
        depth: bytes[at + 16], kind: bytes[at + 17], isInterlaced: bytes[at + 20] === 1,
      };
    } else if (name === "PLTE") file.palette = content;
    else if (name === "tRNS") file.transparency = content;
    else if (name === "IDAT") file.parts.push(content);
    else if (name === "IEND") break;
    at += 12 + length;
  }
  if (!file.header || !file.parts.length) throw BROKEN;
  return file;
}

async function inflated(parts) {
  try {
    const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch {
    throw BROKEN;
  }
}

// The samples of all pixels, each as the number that it is stored as, rows one after another.
function unfiltered(raw, { width, height, depth, kind, isInterlaced }) {
  const bands = SAMPLES[kind];
  const samples = new (depth === 16 ? Uint16Array : Uint8Array)(width * height * bands);
  let at = 0;
  for (const [firstX, firstY, stepX, stepY] of isInterlaced ? PASSES : [[0, 0, 1, 1]]) {
    const columns = Math.ceil((width - firstX) / stepX);
    const rows = Math.ceil((height - firstY) / stepY);
    if (columns <= 0 || rows <= 0) continue;
    const stride = Math.ceil((columns * bands * depth) / 8);
    const distance = Math.max(1, (bands * depth) >> 3);
    let above = new Uint8Array(stride);
    for (let row = 0; row < rows; row++, at += stride + 1) {
      if (at + stride + 1 > raw.length) throw BROKEN;
      const line = raw.subarray(at + 1, at + 1 + stride);
      unfilter(raw[at], line, above, distance);
      const y = firstY + row * stepY;
      for (let column = 0; column < columns; column++) {
        const pixel = (y * width + firstX + column * stepX) * bands;
        for (let band = 0; band < bands; band++) {
          samples[pixel + band] = sample(line, column * bands + band, depth);
        }
      }
      above = line;
    }
  }
  return samples;
}

function sample(line, index, depth) {
  if (depth === 8) return line[index];
  if (depth === 16) return (line[2 * index] << 8) | line[2 * index + 1];
  const bit = index * depth;
  return (line[bit >> 3] >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
}

function unfilter(kind, line, above, distance) {
  if (kind > 4) throw BROKEN;
  for (let at = 0; at < line.length; at++) {
    const left = at < distance ? 0 : line[at - distance];
    const corner = at < distance ? 0 : above[at - distance];
    if (kind === 1) line[at] += left;
    else if (kind === 2) line[at] += above[at];
    else if (kind === 3) line[at] += (left + above[at]) >> 1;
    else if (kind === 4) line[at] += paeth(left, above[at], corner);
  }
}

function paeth(left, above, corner) {
  const toLeft = Math.abs(above - corner);
  const toAbove = Math.abs(left - corner);
  const toCorner = Math.abs(left + above - 2 * corner);
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}

function coloured(samples, { width, height, depth, kind }, palette, transparency) {
  const bands = SAMPLES[kind];
  const isGrey = kind === 0 || kind === 4;
  const hasAlpha = bands === 2 || bands === 4 || transparency !== undefined;
  const toByte = byteOf(depth, kind);
  const key = keyOf(kind, depth, transparency);
  const data = new Uint8Array(width * height * 4);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const from = pixel * bands;
    const to = pixel * 4;
    data[to + 3] = 255;
    if (kind === 3) {
      const entry = samples[from];
      for (let band = 0; band < 3; band++) data[to + band] = palette[entry * 3 + band] ?? 0;
      data[to + 3] = transparency?.[entry] ?? 255;
      continue;
    }
    for (let band = 0; band < 3; band++) {
      data[to + band] = toByte(samples[from + (isGrey ? 0 : band)]);
    }
    if (bands === 2 || bands === 4) data[to + 3] = toByte(samples[from + bands - 1]);
    else if (key?.every((value, band) => value === samples[from + band])) data[to + 3] = 0;
  }
  const isKeyKnown = !transparency || kind === 3 || depth === 8;
  return { isGrey, hasAlpha, isKeyKnown, data };
}

function byteOf(depth, kind) {
  if (depth === 8) return (value) => value;
  if (depth < 8) return (value) => value * (255 / ((1 << depth) - 1));
  if (kind === 0) return (value) => Math.floor((value * 255 + 32767) / 65535);
  return (value) => value >> 8;
}

function keyOf(kind, depth, transparency) {
  if (!transparency || kind === 3) return undefined;
  const count = kind === 0 ? 1 : 3;
  return Array.from({ length: count }, (_, band) =>
    (transparency[2 * band] << 8) | transparency[2 * band + 1],
  );
}
