// From a decoded image to the bytes that the network takes: the shorter side scaled, the middle
// cut out. Computes what Pillow's Image.resize does, to the bit: two passes, weights of 22 bits.
//
// An image is {width, height, bands, data}, data of bytes in order height, width, band.

const WEIGHT_BITS = 22;
const LONGEST = 16; // times the side to cut out; of longer images only the middle is scaled

const FILTERS = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: cubic },
};

function cubic(distance) {
  const a = -0.5; // Keys 1981, equation 4, with the parameter that Pillow uses
  const x = Math.abs(distance);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

// Python's round(): halves go to the even neighbour.
function roundHalfEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

// The image scaled until it covers what is cut out, and its middle of size [height, width].
export function scaleAndCrop(image, [height, width], resizePx, interpolation) {
  const shorter = Math.min(height, width);
  const to = Math.max(resizePx || shorter, shorter);
  const leastHeight = Math.floor((height * to) / shorter);
  const leastWidth = Math.floor((width * to) / shorter);
  const isTall = image.width * leastHeight <= image.height * leastWidth;
  const scaledWidth = isTall ? leastWidth : Math.trunc((leastHeight * image.width) / image.height);
  const scaledHeight = isTall ? Math.trunc((leastWidth * image.height) / image.width) : leastHeight;
  const left = roundHalfEven((scaledWidth - width) / 2);
  const top = roundHalfEven((scaledHeight - height) / 2);
  const filter = FILTERS[interpolation];
  if (Math.max(scaledWidth, scaledHeight) > LONGEST * Math.max(height, width)) {
    const byX = image.width / scaledWidth;
    const byY = image.height / scaledHeight;
    const box = [left * byX, top * byY, (left + width) * byX, (top + height) * byY];
    return resized(image, width, height, filter, box);
  }
  const whole = [0, 0, image.width, image.height];
  return cropped(resized(image, scaledWidth, scaledHeight, filter, whole), left, top, width, height);
}

function cropped(image, left, top, width, height) {
  const { bands } = image;
  const data = new Uint8Array(width * height * bands);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * image.width + left) * bands;
    data.set(image.data.subarray(start, start + width * bands), y * width * bands);
  }
  return { width, height, bands, data };
}

// `box`, of the left, upper, right and lower edge, scaled to a width and height.
function resized(image, width, height, filter, box) {
  const [left, top, right, bottom] = box.map(Math.fround); // Pillow keeps them in 32 bits
  const isWhole = left === 0 && top === 0 && right === image.width && bottom === image.height;
  if (isWhole && width === image.width && height === image.height) return image;
  const isAlpha = image.bands === 4;
  let part = isAlpha ? premultiplied(image) : image;
  if (width !== image.width || left !== 0 || right !== width) {
    part = scaledAlongX(part, weights(image.width, left, right, width, filter));
  }
  if (height !== image.height || top !== 0 || bottom !== height) {
    part = scaledAlongY(part, weights(image.height, top, bottom, height, filter));
  }
  return isAlpha ? unpremultiplied(part) : part;
}

// For each pixel of the result the first pixel that it is made of, and integer weights.
function weights(size, from, to, count, { support, weight }) {
  const scale = Math.fround(to - from) / count;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: count }, (_, index) => {
    const centre = from + (index + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support * stretch + 0.5));
    const end = Math.min(size, Math.trunc(centre + support * stretch + 0.5));
    const inverse = 1 / stretch;
    const values = [];
    let sum = 0;
    for (let x = first; x < end; x++) {
      values.push(weight((x - centre + 0.5) * inverse));
      sum += values[values.length - 1];
    }
    const integers = values.map((value) => {
      const share = sum === 0 ? value : value / sum;
      return Math.trunc(share * 2 ** WEIGHT_BITS + (share < 0 ? -0.5 : 0.5));
    });
    return { first, values: Int32Array.from(integers) };
  });
}

function scaledAlongX({ width: fullWidth, height, bands, data: source }, columns) {
  const width = columns.length;
  const data = new Uint8ClampedArray(width * height * bands);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const { first, values } = columns[x];
      for (let band = 0; band < bands; band++) {
        let sum = 2 ** (WEIGHT_BITS - 1);
        let at = (y * fullWidth + first) * bands + band;
        for (let k = 0; k < values.length; k++, at += bands) sum += source[at] * values[k];
        data[(y * width + x) * bands + band] = sum >> WEIGHT_BITS;
      }
    }
  }
  return { width, height, bands, data };
}

function scaledAlongY({ width, bands, data: source }, rows) {
  const height = rows.length;
  const stride = width * bands;
  const data = new Uint8ClampedArray(stride * height);
  for (let y = 0; y < height; y++) {
    const { first, values } = rows[y];
    for (let x = 0; x < stride; x++) {
      let sum = 2 ** (WEIGHT_BITS - 1);
      let at = first * stride + x;
      for (let k = 0; k < values.length; k++, at += stride) sum += source[at] * values[k];
      data[y * stride + x] = sum >> WEIGHT_BITS;
    }
  }
  return { width, height, bands, data };
}

function premultiplied(image) {
  return perPixel(image, (value, alpha) => {
    const product = value * alpha + 128;
    return ((product >> 8) + product) >> 8;
  });
}

function unpremultiplied(image) {
  return perPixel(image, (value, alpha) =>
    alpha === 0 || alpha === 255 ? value : Math.min(255, Math.trunc((255 * value) / alpha)),
  );
}

function perPixel(image, change) {
  const data = Uint8Array.from(image.data);
  for (let at = 0; at < data.length; at += 4) {
    for (let band = 0; band < 3; band++) data[at + band] = change(data[at + band], data[at + 3]);
  }
  return { ...image, data };
}

// The same bytes as floats from 0 to 1 in order band, height, width.
export function planes({ width, height, bands, data }) {
  const values = new Float32Array(data.length);
  const size = width * height;
  for (let band = 0; band < bands; band++) {
    for (let at = 0; at < size; at++) values[band * size + at] = data[at * bands + band] / 255;
  }
  return values;
}
