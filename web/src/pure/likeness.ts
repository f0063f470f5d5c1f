/** How two pictures that show the same tissue lie on each other. */

export interface Box {
  /** Left, top, width and height as shares of the picture below. */
  left: number;
  top: number;
  width: number;
  height: number;
}

export interface Extent {
  width: number;
  height: number;
}

/** Return the CSS transform that turns b as it lies on a: quarter turns counter-clockwise, mirrored first from 4 on. */
export function turnOf(view: number): string {
  const mirrored = view >= 4 ? " scaleX(-1)" : "";
  return `rotate(${-90 * (view % 4)}deg)${mirrored}`;
}

/** Return in words how b is turned against a. */
export function turnInWords(view: number): string {
  const mirrored = view >= 4 ? "mirrored" : "";
  const turned = view % 4 ? `turned by ${90 * (view % 4)}°` : "";
  return [mirrored, turned].filter(Boolean).join(" and ") || "not turned";
}

/** Return the part of a that b covers, cut at a's edges. `offset` is b's corner in pixels of a. */
export function coverOf(a: Extent, b: Extent, offset: readonly [number, number], view: number): Box {
  const turned = view % 2 ? { width: b.height, height: b.width } : b;
  const left = clamp(offset[0] / a.width);
  const top = clamp(offset[1] / a.height);
  const right = clamp((offset[0] + turned.width) / a.width);
  const bottom = clamp((offset[1] + turned.height) / a.height);
  return { left, top, width: right - left, height: bottom - top };
}

function clamp(share: number): number {
  return Math.min(1, Math.max(0, share));
}
