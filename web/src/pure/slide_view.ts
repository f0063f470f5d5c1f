/** What the URL of the slide view says: where one looks, and which layers are shown how strongly. */
export interface View {
  /** Centre of the window, in pixels of the slide. */
  x: number;
  y: number;
  /** Pixels of the screen per pixel of the slide. */
  zoom: number;
}

export interface Rectangle {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Return the view that "x,y,zoom" says; null for anything else. */
export function parseView(text: string | null): View | null {
  const [x, y, zoom, ...rest] = (text ?? "").split(",").map(Number);
  if (x === undefined || y === undefined || zoom === undefined || rest.length) return null;
  if (![x, y, zoom].every(Number.isFinite) || zoom <= 0) return null;
  return { x, y, zoom };
}

export function formatView(view: View): string {
  return `${Math.round(view.x)},${Math.round(view.y)},${Number(view.zoom.toPrecision(3))}`;
}

/** Return opacities in percent by layer, from "lumen.70,entropy.0"; what is not said keeps its default. */
export function parseLayers(
  text: string | null,
  defaults: Readonly<Record<string, number>>,
): Record<string, number> {
  const said = (text ?? "").split(",").map((part) => {
    const dot = part.lastIndexOf(".");
    return [part.slice(0, dot), Number(part.slice(dot + 1))] as const;
  });
  const known = said.filter(([key, n]) => key in defaults && Number.isInteger(n) && n >= 0 && n <= 100);
  return { ...defaults, ...Object.fromEntries(known) };
}

/** Return only what differs from the defaults; null where nothing does. */
export function formatLayers(
  shown: Readonly<Record<string, number>>,
  defaults: Readonly<Record<string, number>>,
): string | null {
  const changed = Object.entries(shown).filter(([key, n]) => defaults[key] !== n);
  return changed.length ? changed.map(([key, n]) => `${key}.${n}`).join(",") : null;
}

/** Return the rectangle between two corners, inside the slide, in whole pixels; null where it is too thin to be meant. */
export function rectangleOf(
  a: { x: number; y: number },
  b: { x: number; y: number },
  size: { width: number; height: number },
): Rectangle | null {
  const clamp = (value: number, most: number) => Math.min(most, Math.max(0, Math.round(value)));
  const [left, right] = [clamp(Math.min(a.x, b.x), size.width), clamp(Math.max(a.x, b.x), size.width)];
  const [top, bottom] = [clamp(Math.min(a.y, b.y), size.height), clamp(Math.max(a.y, b.y), size.height)];
  if (right - left < 8 || bottom - top < 8) return null;
  return { x: left, y: top, width: right - left, height: bottom - top };
}
