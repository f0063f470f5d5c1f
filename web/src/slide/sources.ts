/** Deep Zoom images of the api as tile sources: fetched with the token in the header, asked again where they are being made. */
import OpenSeadragon from "openseadragon";
import { getBlob, getText } from "../api/client";
import { asProblem } from "../api/problem";
import { type Hatch, pickClass } from "../pure/class_pixels";

/** Which class of a mask a layer shows, and how. */
export interface ClassLook {
  /** Its colour in the tiles of the server. */
  stored: string;
  /** Its colour here. */
  shown: string;
  hatch: Hatch;
}

const MOST_TRIES = 8;
const MOST_HELD = 160;

/** Return the tile source of a ".dzi" of the api; with `look` only one class of a mask. */
export async function openSource(
  url: string,
  look: ClassLook | null,
  onWait: (waiting: boolean) => void,
): Promise<OpenSeadragon.TileSource> {
  const image = new DOMParser().parseFromString(await getText(url), "application/xml").documentElement;
  const size = image.getElementsByTagName("Size")[0];
  const number = (element: Element | undefined, name: string) => Number(element?.getAttribute(name) ?? 0);
  const [path = "", query = ""] = url.split("?");
  return new Tiles(
    {
      width: number(size, "Width"),
      height: number(size, "Height"),
      tileSize: number(image, "TileSize"),
      tileOverlap: number(image, "Overlap"),
    },
    (level, x, y) =>
      `${path.replace(/\.dzi$/, "_files")}/${level}/${x}_${y}.${image.getAttribute("Format")}${query ? `?${query}` : ""}`,
    look,
    onWait,
  );
}

interface Shape {
  width: number;
  height: number;
  tileSize: number;
  tileOverlap: number;
}

class Tiles extends OpenSeadragon.TileSource {
  private readonly urlOf: (level: number, x: number, y: number) => string;
  private readonly look: ClassLook | null;
  private readonly onWait: (waiting: boolean) => void;

  constructor(
    shape: Shape,
    urlOf: (level: number, x: number, y: number) => string,
    look: ClassLook | null,
    onWait: (waiting: boolean) => void,
  ) {
    super({ ...shape, minLevel: 0, maxLevel: Math.ceil(Math.log2(Math.max(shape.width, shape.height))) });
    this.urlOf = urlOf;
    this.look = look;
    this.onWait = onWait;
  }

  override getTileUrl(level: number, x: number, y: number): string {
    return this.urlOf(level, x, y);
  }

  override getTileHashKey(level: number, x: number, y: number): string {
    const look = this.look ? `#${this.look.stored}${this.look.shown}${this.look.hatch}` : "";
    return this.urlOf(level, x, y) + look;
  }

  override downloadTileStart(job: OpenSeadragon.ImageJob): void {
    const stop = new AbortController();
    job.userData = { stop };
    const url = job.src.split("#")[0] ?? job.src;
    const made = this.look ? classTile(url, this.look) : this.fetched(url, stop.signal);
    made
      .then((tile) => stop.signal.aborted || job.finish(tile.data, null as never, tile.kind))
      .catch((error: unknown) => stop.signal.aborted || job.fail(asProblem(error).message, null as never));
  }

  override downloadTileAbort(job: OpenSeadragon.ImageJob): void {
    (job.userData as { stop?: AbortController } | undefined)?.stop?.abort();
  }

  private async fetched(url: string, signal: AbortSignal): Promise<{ data: Blob; kind: string }> {
    for (let tries = 1; ; tries++) {
      try {
        const data = await getBlob(url, signal);
        if (tries > 1) this.onWait(false);
        return { data, kind: "rasterBlob" };
      } catch (error) {
        const problem = asProblem(error);
        if (signal.aborted || ![429, 503].includes(problem.status) || tries === MOST_TRIES) throw error;
        this.onWait(true);
        await new Promise((done) => setTimeout(done, 1000 * (problem.retryAfterS ?? 3)));
      }
    }
  }
}

interface Pixels {
  values: Uint32Array;
  width: number;
  height: number;
}

/** Tiles of masks as pixels, shared by the classes of a mask; the oldest go first. */
const decoded = new Map<string, Promise<Pixels>>();

function pixelsOf(url: string): Promise<Pixels> {
  const known = decoded.get(url);
  if (known) return known;
  const read = decode(url);
  decoded.set(url, read);
  read.catch(() => decoded.delete(url));
  for (const oldest of decoded.keys()) {
    if (decoded.size <= MOST_HELD) break;
    decoded.delete(oldest);
  }
  return read;
}

async function decode(url: string): Promise<Pixels> {
  const options: ImageBitmapOptions = { premultiplyAlpha: "none", colorSpaceConversion: "none" };
  const bitmap = await createImageBitmap(await getBlob(url), options);
  const { width, height } = bitmap;
  const context = contextOf(width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { values: new Uint32Array(context.getImageData(0, 0, width, height).data.buffer), width, height };
}

async function classTile(
  url: string,
  look: ClassLook,
): Promise<{ data: CanvasRenderingContext2D; kind: string }> {
  const { values, width, height } = await pixelsOf(url);
  const context = contextOf(width, height);
  const picked = pickClass(values, width, look.stored, look.shown, look.hatch);
  context.putImageData(new ImageData(new Uint8ClampedArray(picked.buffer), width, height), 0, 0);
  return { data: context, kind: "context2d" };
}

function contextOf(width: number, height: number): CanvasRenderingContext2D {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("This browser draws no canvas.");
  return context;
}
