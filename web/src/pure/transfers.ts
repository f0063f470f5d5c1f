/** Arithmetic and words of uploads: which way a file goes, how fast, how long still, what stands beside it. */

/** Above this a file goes in pieces that can stop and go on; below, in one request. The api's limit is 100 MiB. */
export const ONE_REQUEST_BYTES = 20_000_000;
export const AT_ONCE = 2;

export type TransferState = "waiting" | "sending" | "paused" | "checking" | "stored" | "failed";

export function isResumable(bytes: number): boolean {
  return bytes > ONE_REQUEST_BYTES;
}

export interface Sample {
  atMs: number;
  bytes: number;
}

const SPAN_MS = 8000;

/** Add what was sent until now; what is older than a few seconds says nothing of the speed any more. */
export function withSample(samples: readonly Sample[], sample: Sample): Sample[] {
  const last = samples.at(-1);
  const kept = last && last.bytes > sample.bytes ? [] : samples;
  return [...kept.filter((s) => sample.atMs - s.atMs <= SPAN_MS), sample];
}

/** Bytes per second over the samples; null before it can be said. */
export function speedOf(samples: readonly Sample[]): number | null {
  const [first, last] = [samples[0], samples.at(-1)];
  if (!first || !last || last.atMs - first.atMs < 500) return null;
  return ((last.bytes - first.bytes) / (last.atMs - first.atMs)) * 1000;
}

/** Seconds until all is sent; null where nothing moves. */
export function restOf(sent: number, total: number, speed: number | null): number | null {
  return speed && speed > 0 ? (total - sent) / speed : null;
}

/** Which of the waiting may begin now. */
export function next<T extends { state: TransferState }>(transfers: readonly T[], atOnce = AT_ONCE): T[] {
  const busy = transfers.filter((t) => t.state === "sending" || t.state === "checking").length;
  return transfers.filter((t) => t.state === "waiting").slice(0, Math.max(0, atOnce - busy));
}

/** Two files that are the same to a person: name, length and time of change. */
export function likenessOf(file: { name: string; size: number; lastModified: number }): string {
  return `${file.name} ${file.size} ${file.lastModified}`;
}

/** Why a file cannot be sent at all, or "". */
export function whyNot(file: { name: string; size: number }): string {
  if (file.size === 0) return "The file is empty: 0 bytes. Copy it again from where it was scanned.";
  if (/\.mrxs$/i.test(file.name))
    return "A .mrxs file is only the index of its folder. Zip the .mrxs file together with its folder, and send the zip.";
  return "";
}

export type PixelSizeAnswer = { mpp: number } | { wrong: string };

/** Read a pixel size as typed: "0.25", "0,25". */
export function readPixelSize(text: string): PixelSizeAnswer {
  const mpp = Number(text.trim().replace(",", "."));
  if (!text.trim() || !Number.isFinite(mpp)) return { wrong: "Type a number, for instance 0.25." };
  if (mpp < 0.01 || mpp > 1000)
    return { wrong: `Got ${text.trim()} µm per pixel; it must be between 0.01 and 1000.` };
  return { mpp };
}

/** Pixel size from a scale bar: its length in µm and in pixels. */
export function fromScaleBar(um: string, px: string): number | null {
  const [length, pixels] = [Number(um.replace(",", ".")), Number(px.replace(",", "."))];
  if (!(length > 0) || !(pixels > 0)) return null;
  const mpp = length / pixels;
  return mpp >= 0.01 && mpp <= 1000 ? Number(mpp.toPrecision(4)) : null;
}

/** The level of a Deep Zoom image that fits one tile: the largest whose longer side is at most `tilePx`. */
export function thumbnailLevel(width: number, height: number, tilePx = 254): number {
  const longer = Math.max(width, height);
  const top = Math.ceil(Math.log2(longer));
  let level = top;
  while (level > 0 && Math.ceil(longer / 2 ** (top - level)) > tilePx) level--;
  return level;
}
