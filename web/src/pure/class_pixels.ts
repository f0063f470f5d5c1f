/** One class of a mask tile by itself, so that each class has its own opacity and no slider fetches anything. */
export type Hatch = "none" | "diagonal" | "dots" | "cross";

/** Return 0xAABBGGRR of "#rrggbb", as a Uint32Array over canvas pixels has it (little-endian). */
export function packed(color: string, alpha = 255): number {
  const value = Number.parseInt(color.slice(1), 16);
  return ((alpha << 24) | ((value & 255) << 16) | (((value >> 8) & 255) << 8) | (value >> 16)) >>> 0;
}

/** Return the pixels that have the colour `stored`, in the colour `shown`; all else is transparent. */
export function pickClass(
  pixels: Uint32Array,
  width: number,
  stored: string,
  shown: string,
  hatch: Hatch = "none",
): Uint32Array<ArrayBuffer> {
  const [wanted, strong, weak] = [packed(stored), packed(shown), packed(shown, 110)];
  const out = new Uint32Array(pixels.length);
  for (let i = 0; i < pixels.length; i++)
    if (pixels[i] === wanted) out[i] = inHatch(hatch, i % width, Math.trunc(i / width)) ? strong : weak;
  return out;
}

const PERIOD = 16;

/** Tell whether a pixel lies on the lines of a hatch. */
export function inHatch(hatch: Hatch, x: number, y: number): boolean {
  if (hatch === "diagonal") return (x + y) % PERIOD < 6;
  if (hatch === "dots") return x % PERIOD < 8 && y % PERIOD < 8;
  if (hatch === "cross") return x % PERIOD < 4 || y % PERIOD < 4;
  return true;
}
