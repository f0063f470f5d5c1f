/** Painting on class numbers: strokes, polygons and filled areas, each one step that can be undone. */
import type { IndexImage } from "./index_png";

export interface Point {
  x: number;
  y: number;
}

export interface Box {
  left: number;
  top: number;
  /** Behind the last column and row. */
  right: number;
  bottom: number;
}

/** What a tool paints with. */
export interface Paint {
  value: number;
  /** Only pixels of this class change; null: all. */
  over: number | null;
}

/** One step: what was in a box before it, or after it once it is undone. */
interface Step {
  box: Box;
  pixels: Uint8Array;
}

const MOST_BYTES = 64 * 2 ** 20;
const MOST_STEPS = 200;

/** A mask that remembers its steps, as many as fit into 64 MB. */
export class Painting {
  private readonly done: Step[] = [];
  private undone: Step[] = [];
  private bytes = 0;
  /** The image before the stroke that is being drawn, and what it has touched. */
  private stroke: { before: Uint8Array; box: Box } | null = null;

  constructor(
    readonly image: IndexImage,
    private readonly most = MOST_BYTES,
  ) {}

  get canUndo(): boolean {
    return this.done.length > 0;
  }

  get canRedo(): boolean {
    return this.undone.length > 0;
  }

  /** Begin a step that more than one call draws. */
  begin(): void {
    if (!this.stroke)
      this.stroke = {
        before: this.image.pixels.slice(),
        box: { left: Infinity, top: Infinity, right: 0, bottom: 0 },
      };
  }

  /** End it; false where nothing changed. */
  end(): boolean {
    const { stroke } = this;
    this.stroke = null;
    if (!stroke || stroke.box.right <= stroke.box.left) return false;
    const before = cut({ ...this.image, pixels: stroke.before as Uint8Array<ArrayBuffer> }, stroke.box);
    if (before.every((value, n) => value === this.valueIn(stroke.box, n))) return false;
    this.bytes -= this.undone.reduce((sum, step) => sum + step.pixels.length, 0);
    this.undone = [];
    this.remember({ box: stroke.box, pixels: before });
    return true;
  }

  /** Paint a disc along a line; the radius is in pixels. Returns what may have changed. */
  brush(from: Point, to: Point, radius: number, paint: Paint): Box {
    const reach = Math.max(0.5, radius);
    const box = within(this.image, {
      left: Math.floor(Math.min(from.x, to.x) - reach),
      top: Math.floor(Math.min(from.y, to.y) - reach),
      right: Math.ceil(Math.max(from.x, to.x) + reach) + 1,
      bottom: Math.ceil(Math.max(from.y, to.y) + reach) + 1,
    });
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    const length = dx * dx + dy * dy;
    return this.where(box, paint, (x, y) => {
      const along = length ? Math.min(1, Math.max(0, ((x - from.x) * dx + (y - from.y) * dy) / length)) : 0;
      return (x - from.x - along * dx) ** 2 + (y - from.y - along * dy) ** 2 <= reach * reach;
    });
  }

  /** Fill a polygon by the even-odd rule, by centres of pixels. */
  polygon(corners: readonly Point[], paint: Paint): Box {
    const xs = corners.map((c) => c.x);
    const ys = corners.map((c) => c.y);
    const box = within(this.image, {
      left: Math.floor(Math.min(...xs)),
      top: Math.floor(Math.min(...ys)),
      right: Math.ceil(Math.max(...xs)) + 1,
      bottom: Math.ceil(Math.max(...ys)) + 1,
    });
    return this.where(box, paint, (x, y) => inside(corners, x, y));
  }

  /** Fill the connected area of one class round a pixel; null where it reaches the edge and `closed` is asked for. */
  fill(at: Point, paint: Paint, closed: boolean): Box | null {
    const { width, height, pixels } = this.image;
    const [x0, y0] = [Math.floor(at.x), Math.floor(at.y)];
    if (x0 < 0 || y0 < 0 || x0 >= width || y0 >= height) return null;
    const area = areaRound(this.image, y0 * width + x0);
    if (closed && area.atEdge) return null;
    const value = pixels[y0 * width + x0];
    if (value === paint.value || (paint.over !== null && paint.over !== value)) return null;
    for (const n of area.pixels) pixels[n] = paint.value;
    this.touch(area.box);
    return area.box;
  }

  undo(): Box | null {
    return this.swap(this.done, this.undone);
  }

  redo(): Box | null {
    return this.swap(this.undone, this.done);
  }

  private swap(from: Step[], to: Step[]): Box | null {
    const step = from.pop();
    if (!step) return null;
    to.push({ box: step.box, pixels: cut(this.image, step.box) });
    put(this.image, step.box, step.pixels);
    return step.box;
  }

  private where(box: Box, paint: Paint, chosen: (x: number, y: number) => boolean): Box {
    const { width, pixels } = this.image;
    for (let y = box.top; y < box.bottom; y++)
      for (let x = box.left; x < box.right; x++) {
        const n = y * width + x;
        if ((paint.over === null || pixels[n] === paint.over) && chosen(x + 0.5, y + 0.5))
          pixels[n] = paint.value;
      }
    this.touch(box);
    return box;
  }

  private touch(box: Box): void {
    if (!this.stroke || box.right <= box.left || box.bottom <= box.top) return;
    const old = this.stroke.box;
    this.stroke.box = {
      left: Math.min(old.left, box.left),
      top: Math.min(old.top, box.top),
      right: Math.max(old.right, box.right),
      bottom: Math.max(old.bottom, box.bottom),
    };
  }

  private valueIn(box: Box, n: number): number | undefined {
    const width = box.right - box.left;
    return this.image.pixels[(box.top + Math.trunc(n / width)) * this.image.width + box.left + (n % width)];
  }

  private remember(step: Step): void {
    this.done.push(step);
    this.bytes += step.pixels.length;
    while (this.done.length > 1 && (this.bytes > this.most || this.done.length > MOST_STEPS))
      this.bytes -= this.done.shift()?.pixels.length ?? 0;
  }
}

function within(image: IndexImage, box: Box): Box {
  return {
    left: Math.max(0, box.left),
    top: Math.max(0, box.top),
    right: Math.min(image.width, box.right),
    bottom: Math.min(image.height, box.bottom),
  };
}

function cut(image: IndexImage, box: Box): Uint8Array {
  const width = box.right - box.left;
  const out = new Uint8Array(width * (box.bottom - box.top));
  for (let y = box.top; y < box.bottom; y++)
    out.set(
      image.pixels.subarray(y * image.width + box.left, y * image.width + box.right),
      (y - box.top) * width,
    );
  return out;
}

function put(image: IndexImage, box: Box, pixels: Uint8Array): void {
  const width = box.right - box.left;
  for (let y = box.top; y < box.bottom; y++)
    image.pixels.set(
      pixels.subarray((y - box.top) * width, (y - box.top + 1) * width),
      y * image.width + box.left,
    );
}

function inside(corners: readonly Point[], x: number, y: number): boolean {
  let odd = false;
  for (let n = 0, m = corners.length - 1; n < corners.length; m = n++) {
    const [a, b] = [corners[n] as Point, corners[m] as Point];
    if (a.y > y !== b.y > y && x < ((b.x - a.x) * (y - a.y)) / (b.y - a.y) + a.x) odd = !odd;
  }
  return odd;
}

/** The pixels of one class that hang together by edges. */
function areaRound(image: IndexImage, start: number): { pixels: number[]; box: Box; atEdge: boolean } {
  const { width, height, pixels } = image;
  const value = pixels[start];
  const seen = new Uint8Array(pixels.length);
  const found = [start];
  seen[start] = 1;
  const box = { left: width, top: height, right: 0, bottom: 0 };
  let atEdge = false;
  for (let n = 0; n < found.length; n++) {
    const at = found[n] as number;
    const [x, y] = [at % width, Math.trunc(at / width)];
    box.left = Math.min(box.left, x);
    box.right = Math.max(box.right, x + 1);
    box.top = Math.min(box.top, y);
    box.bottom = Math.max(box.bottom, y + 1);
    atEdge ||= x === 0 || y === 0 || x === width - 1 || y === height - 1;
    for (const [next, there] of [
      [at - 1, x > 0],
      [at + 1, x < width - 1],
      [at - width, y > 0],
      [at + width, y < height - 1],
    ] as const)
      if (there && !seen[next] && pixels[next] === value) {
        seen[next] = 1;
        found.push(next);
      }
  }
  return { pixels: found, box, atEdge };
}

/** Return what of `mine` differs from `base`, put on top of `theirs`. */
export function merged(mine: Uint8Array, base: Uint8Array, theirs: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(theirs, (value, n) => (mine[n] === base[n] ? value : (mine[n] ?? value)));
}

/** Return how many pixels differ. */
export function changedPixels(a: Uint8Array, b: Uint8Array): number {
  let count = 0;
  for (let n = 0; n < a.length; n++) if (a[n] !== b[n]) count++;
  return count;
}
