/** 8-bit PNG of class numbers, read and written without a canvas: a canvas would give colours, and change some. */
export interface IndexImage {
  width: number;
  height: number;
  /** Class numbers, row by row. */
  pixels: Uint8Array<ArrayBuffer>;
}

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  let value = n;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value >>> 0;
});

/** Return a grey PNG whose values are the class numbers. */
export async function encodeIndexPng(image: IndexImage): Promise<Blob> {
  const { width, height, pixels } = image;
  const rows = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++) rows.set(pixels.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const head = new Uint8Array(13);
  const view = new DataView(head.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  head[8] = 8;
  const packed = await through(rows, new CompressionStream("deflate"));
  const parts = [
    new Uint8Array(SIGNATURE),
    chunk("IHDR", head),
    chunk("IDAT", packed),
    chunk("IEND", new Uint8Array(0)),
  ];
  return new Blob(parts, { type: "image/png" });
}

/** Return the class numbers of an 8-bit grey or palette PNG. Throws where it is another image. */
export async function decodeIndexPng(data: ArrayBuffer): Promise<IndexImage> {
  const bytes = new Uint8Array(data);
  if (SIGNATURE.some((value, n) => bytes[n] !== value)) throw new Error("This is no PNG.");
  const view = new DataView(data);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  if (bytes[24] !== 8 || ![0, 3].includes(bytes[25] ?? -1) || bytes[28] !== 0)
    throw new Error("This PNG does not hold 8-bit class numbers.");
  const packed: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    if (String.fromCharCode(...bytes.subarray(at + 4, at + 8)) === "IDAT")
      packed.push(bytes.slice(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const rows = await through(joined(packed), new DecompressionStream("deflate"));
  if (rows.length !== (width + 1) * height) throw new Error("This PNG is damaged.");
  return { width, height, pixels: unfiltered(rows, width, height) };
}

async function through(
  data: Uint8Array<ArrayBuffer>,
  stream: CompressionStream | DecompressionStream,
): Promise<Uint8Array<ArrayBuffer>> {
  const made = new Blob([data]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(made).arrayBuffer());
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function chunk(name: string, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(data.length + 12);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  for (let n = 0; n < 4; n++) out[4 + n] = name.charCodeAt(n);
  out.set(data, 8);
  view.setUint32(8 + data.length, crc(out.subarray(4, 8 + data.length)));
  return out;
}

function crc(data: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of data) value = (CRC[(value ^ byte) & 255] ?? 0) ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

/** Undo the five filters of PNG, one byte per pixel. */
function unfiltered(rows: Uint8Array, width: number, height: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const [from, to] = [y * (width + 1), y * width];
    const filter = rows[from] ?? 0;
    for (let x = 0; x < width; x++) {
      const left = x ? (out[to + x - 1] ?? 0) : 0;
      const up = y ? (out[to + x - width] ?? 0) : 0;
      const corner = x && y ? (out[to + x - width - 1] ?? 0) : 0;
      out[to + x] = (rows[from + 1 + x] ?? 0) + predicted(filter, left, up, corner);
    }
  }
  return out;
}

function predicted(filter: number, left: number, up: number, corner: number): number {
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  if (filter !== 4) return 0;
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}
