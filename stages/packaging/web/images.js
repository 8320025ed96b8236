// From a file to the bytes that the network takes, as validation reads images: the first frame,
// transparency dropped, no rotation by EXIF, no colour profile. PNG and .npy are decoded here; other
// formats by the browser, after what would turn or recolour them has been cut out of the file.

import { ImageFault } from "./fault.js";
import { scaleAndCrop } from "./pixels.js";
import { decodePng, isPng } from "./png.js";

const MOST_PIXELS = 178956970; // as Pillow
const COLOUR_LEVELS = 32; // between the bands of a pixel; grey JPEG files have a few
const BANDS = { 1: "grey", 3: "RGB", 4: "RGBA" };
const UNREADABLE = new ImageFault("is no image that this browser reads", "save it as PNG or JPEG");

// {width, height, bands, data} of a Blob, scaled and cut as manifest.json says.
export async function prepared(file, manifest) {
  const { signature, preprocessing } = manifest;
  const [channels, ...size] = signature.shape;
  const bytes = new Uint8Array(await file.arrayBuffer());
  const image = isNpy(bytes) ? array(bytes, channels) : withChannels(await decoded(bytes), channels);
  const interpolation = preprocessing.interpolation ?? "bilinear";
  return scaleAndCrop(image, size, preprocessing.resize_px, interpolation);
}

async function decoded(bytes) {
  if (isPng(bytes)) return decodePng(bytes, MOST_PIXELS);
  const plain = isJpeg(bytes) ? plainJpeg(bytes) : plainWebp(bytes);
  let bitmap;
  try {
    const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
    bitmap = await createImageBitmap(new Blob([plain]), options);
  } catch {
    throw UNREADABLE;
  }
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) {
    throw new ImageFault(`has more than ${MOST_PIXELS} pixels`, "scale it down");
  }
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  bitmap.close();
  for (let at = 3; at < data.length; at += 4) {
    if (data[at] === 255) continue;
    const wrong = "has transparent pixels, whose colours the browser does not tell";
    throw new ImageFault(wrong, "save it as PNG");
  }
  return { width, height, data, isGrey: false, hasAlpha: false, isKeyKnown: true };
}

// Pixels of RGBA as an image of 1, 3 or 4 bands.
function withChannels(image, channels) {
  const { width, height, data, isGrey, hasAlpha, isKeyKnown } = image;
  if (!(channels in BANDS)) {
    throw new ImageFault(`has no ${channels} channels`, "choose a .npy file of uint8 with as many");
  }
  if (channels === 4 && !hasAlpha) {
    throw new ImageFault("has no transparency, which the network takes", "save it as PNG with it");
  }
  if (channels === 4 && !isKeyKnown) {
    throw new ImageFault("names one colour as transparent", "save it as PNG of RGBA");
  }
  if (channels === 4) return { width, height, bands: 4, data };
  const pixels = new Uint8Array(width * height * channels);
  for (let from = 0, to = 0; from < data.length; from += 4, to += channels) {
    const [red, green, blue] = [data[from], data[from + 1], data[from + 2]];
    if (channels === 3) {
      pixels[to] = red;
      pixels[to + 1] = green;
      pixels[to + 2] = blue;
      continue;
    }
    const spread = Math.max(red, green, blue) - Math.min(red, green, blue);
    if (!isGrey && spread > COLOUR_LEVELS) {
      throw new ImageFault("is in colour, and the network takes grey images", "convert it to grey");
    }
    // Luma of ITU-R 601-2 in 16 bits, as Pillow.
    pixels[to] = (red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16;
  }
  return { width, height, bands: channels, data: pixels };
}

function isJpeg(bytes) {
  return bytes[0] === 0xff && bytes[1] === 0xd8;
}

// A JPEG file without EXIF (APP1) and colour profile (APP2); refused where it is CMYK.
function plainJpeg(bytes) {
  const parts = [bytes.subarray(0, 2)];
  let at = 2;
  while (at + 4 <= bytes.length && bytes[at] === 0xff) {
    const marker = bytes[at + 1];
    if (marker === 0xff) {
      at += 1; // a fill byte
      continue;
    }
    if (marker === 0xda) break; // the scan: pixels follow
    const end = at + 2 + ((bytes[at + 2] << 8) | bytes[at + 3]);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame && bytes[at + 9] === 4) throw new ImageFault("is in CMYK", "convert it to RGB");
    if (marker !== 0xe1 && marker !== 0xe2) parts.push(bytes.subarray(at, end));
    at = end;
  }
  parts.push(bytes.subarray(at));
  return new Blob(parts);
}

// A WebP file whose EXIF and colour profile are called by a name that nobody reads; others as is.
function plainWebp(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const name = (at) => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (bytes.length < 30 || name(0) !== "RIFF" || name(8) !== "WEBP" || name(12) !== "VP8X") {
    return bytes;
  }
  const plain = Uint8Array.from(bytes);
  plain[20] &= ~0x28; // the flags of both
  for (let at = 12; at + 8 <= bytes.length; ) {
    if (["EXIF", "ICCP"].includes(name(at))) plain.fill(0x58, at, at + 4);
    const length = view.getUint32(at + 4, true);
    at += 8 + length + (length & 1);
  }
  return plain;
}

function isNpy(bytes) {
  return bytes[0] === 0x93 && String.fromCharCode(...bytes.subarray(1, 6)) === "NUMPY";
}

// An array of uint8 and shape (height, width, channels), as numpy.save writes it.
function array(bytes, channels) {
  const fault = new ImageFault(
    "is no array that the network takes",
    `save images as .npy, uint8 of shape (height, width, ${channels})`,
  );
  const isLong = bytes[6] > 1;
  const start = isLong ? 12 : 10;
  const length = isLong
    ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(8, true)
    : bytes[8] | (bytes[9] << 8);
  const header = new TextDecoder("latin1").decode(bytes.subarray(start, start + length));
  const shape = /'shape':\s*\((\d+), (\d+), (\d+)\)/.exec(header)?.slice(1).map(Number);
  const data = bytes.subarray(start + length);
  const isPlain = /'descr':\s*'\|u1'/.test(header) && /'fortran_order':\s*False/.test(header);
  if (!isPlain || !shape || shape[2] !== channels) throw fault;
  const [height, width] = shape;
  if (!data.length || data.length !== height * width * channels) throw fault;
  return { width, height, bands: channels, data };
}
