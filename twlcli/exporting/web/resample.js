// Images resized as Pillow does it, which is what the model was trained with: a kernel that
// grows with the reduction, in two passes of 8-bit values, with weights of 22 bits.

const BITS = 22;

function bilinear(x) {
  x = Math.abs(x);
  return x < 1 ? 1 - x : 0;
}

function bicubic(x) {
  const a = -0.5;
  x = Math.abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

const KERNELS = { bilinear: [bilinear, 1], bicubic: [bicubic, 2] };

// For each of `to` pixels the first source pixel and the weights, of the part `start`..`end`.
function weights(size, start, end, to, interpolation) {
  const [kernel, radius] = KERNELS[interpolation];
  const scale = (end - start) / to;
  const spread = Math.max(scale, 1);
  const support = radius * spread;
  return Array.from({ length: to }, (_, pixel) => {
    const centre = start + (pixel + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const last = Math.min(Math.trunc(centre + support + 0.5), size);
    const exact = [];
    for (let x = first; x < last; x++) exact.push(kernel((x - centre + 0.5) * (1 / spread)));
    const sum = exact.reduce((a, b) => a + b, 0);
    const whole = exact.map((value) => {
      const share = (sum ? value / sum : value) * (1 << BITS);
      return Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
    });
    return [first, whole];
  });
}

function clipped(sum) {
  return Math.min(Math.max(Math.floor(sum / (1 << BITS)), 0), 255);
}

// One pass: `lines` lines of pixels, `along` from a pixel to the next that are weighed together,
// `across` from line to line; what is made lies in the same order, `to` pixels in each line.
function pass(source, factors, lines, along, across, out, outAlong, outAcross) {
  factors.forEach(([first, weights], pixel) => {
    for (let line = 0; line < lines; line++) {
      let place = line * across + first * along;
      let red = 1 << (BITS - 1), green = red, blue = red;
      for (const weight of weights) {
        red += source[place] * weight;
        green += source[place + 1] * weight;
        blue += source[place + 2] * weight;
        place += along;
      }
      place = line * outAcross + pixel * outAlong;
      out[place] = clipped(red);
      out[place + 1] = clipped(green);
      out[place + 2] = clipped(blue);
    }
  });
  return out;
}

// RGBA of a canvas in, RGB (side * side * 3) of the part [left, top, right, bottom] out.
export function resample(rgba, width, height, box, side, interpolation) {
  const [left, top, right, bottom] = box.map(Math.fround);
  const across = weights(width, left, right, side, interpolation);
  const down = weights(height, top, bottom, side, interpolation);
  const out = new Uint8Array(side * side * 3);
  const line = side * 3;
  if (height > side && height - side > 2 * (width - side)) { // as Pillow begins with tall images
    const flat = pass(rgba, down, width, width * 4, 4, new Uint8Array(width * line), width * 3, 3);
    return pass(flat, across, side, 3, width * 3, out, 3, line);
  }
  const narrow = pass(rgba, across, height, 4, width * 4, new Uint8Array(height * line), 3, line);
  return pass(narrow, down, side, line, 3, out, line, 3);
}

// To the nearest, and to the even one of two, as Python rounds.
function rounded(value) {
  const down = Math.floor(value);
  const rest = value - down;
  if (rest !== 0.5) return Math.round(value);
  return down % 2 ? down + 1 : down;
}

// The part of an image that becomes the crop, where the shorter side is resized and a square cut.
export function sourceBox(width, height, resize, crop) {
  const shorter = Math.min(width, height);
  const resizedWidth = Math.floor((resize * width) / shorter);
  const resizedHeight = Math.floor((resize * height) / shorter);
  const left = rounded((resizedWidth - crop) / 2);
  const top = rounded((resizedHeight - crop) / 2);
  const across = width / resizedWidth;
  const down = height / resizedHeight;
  return [left * across, top * down, (left + crop) * across, (top + crop) * down];
}
