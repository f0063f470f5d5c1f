/** A scale bar of a round length. */
export interface ScaleBar {
  /** On the screen. */
  px: number;
  label: string;
}

/** Return the longest bar of 1, 2 or 5 times a power of ten that fits `mostPx`; `perPx` is what one screen pixel shows. */
export function scaleBar(perPx: number, unit: "µm" | "px", mostPx = 160): ScaleBar | null {
  if (!Number.isFinite(perPx) || perPx <= 0) return null;
  const most = perPx * mostPx;
  const power = 10 ** Math.floor(Math.log10(most));
  const length = ([5, 2, 1].find((step) => step * power <= most) ?? 1) * power;
  return { px: length / perPx, label: labelOf(length, unit) };
}

function labelOf(length: number, unit: "µm" | "px"): string {
  if (unit === "px") return `${length.toLocaleString("en")}\u202fpx`;
  if (length >= 1000) return `${length / 1000}\u202fmm`;
  return length >= 1 ? `${length}\u202fµm` : `${Math.round(length * 1000)}\u202fnm`;
}
