/** A mask of class numbers over the slide that pointer and keys paint on. The mask itself belongs to the page. */
import OpenSeadragon from "openseadragon";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Hatch, inHatch, packed } from "../pure/class_pixels";
import type { IndexImage } from "../pure/index_png";
import type { Box, Point } from "../pure/painting";
import type { Rectangle } from "../pure/slide_view";
import { positionOf, slideItem } from "./DeepZoomView";

export interface PaintLayerProps {
  viewer: OpenSeadragon.Viewer;
  image: IndexImage;
  /** What of the slide the mask covers, in slide pixels. */
  place: Rectangle;
  /** Colour of each class. */
  colors: readonly string[];
  /** Tell classes apart by pattern too. */
  patterns: boolean;
  /** 0 to 1. */
  opacity: number;
  /** Whether pointer and arrow keys paint; else they move the slide. */
  painting: boolean;
  /** Of the round cursor, in pixels of the mask; 0: a cross. */
  radius: number;
  /** Told once: call it after pixels have changed. */
  onReady: (redraw: (box: Box | null) => void) => void;
  /** In pixels of the mask. */
  onPress: (at: Point) => void;
  onMove: (at: Point) => void;
  onRelease: () => void;
  /** A key that is no arrow, while the slide has the focus; true: it was taken. */
  onKey: (key: string, at: Point, event: KeyboardEvent) => boolean;
}

const ARROWS: Record<string, readonly [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};
const FAST = 10;

export function PaintLayer(props: PaintLayerProps) {
  const { image, opacity } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const latest = useRef(props);
  latest.current = props;
  const [cursor, setCursor] = useState<Point>({ x: image.width / 2, y: image.height / 2 });
  const [keyed, setKeyed] = useState(false);
  useDrawn(canvas, props);
  usePointer(latest, setCursor, setKeyed);
  useKeys(latest, cursor, setCursor, setKeyed);
  return (
    <>
      <canvas ref={canvas} class="paint-layer" style={{ opacity }} />
      {props.painting ? <Cursor {...props} at={cursor} keyed={keyed} /> : null}
    </>
  );
}

/** Keep a picture of the mask, redraw parts of it, and put it where the slide is. */
function useDrawn(
  canvas: { current: HTMLCanvasElement | null },
  { viewer, image, place, colors, patterns, onReady }: PaintLayerProps,
): void {
  const told = useRef(onReady);
  told.current = onReady;
  useEffect(() => {
    const picture = Object.assign(document.createElement("canvas"), {
      width: image.width,
      height: image.height,
    });
    const context = picture.getContext("2d");
    const looks = colors.map((color, n) => lookOf(color, n, patterns));
    const show = () => drawOn(canvas.current, viewer, picture, place);
    const redraw = (box: Box | null) => {
      const area = box ?? { left: 0, top: 0, right: image.width, bottom: image.height };
      if (area.right > area.left && area.bottom > area.top)
        context?.putImageData(colored(image, area, looks), area.left, area.top);
      show();
    };
    redraw(null);
    told.current(redraw);
    viewer.addHandler("update-viewport", show);
    viewer.addHandler("resize", show);
    return () => {
      viewer.removeHandler("update-viewport", show);
      viewer.removeHandler("resize", show);
    };
  }, [canvas, viewer, image, place, colors, patterns]);
}

interface ClassColors {
  strong: number;
  weak: number;
  hatch: Hatch;
}

const HATCHES: readonly Hatch[] = ["none", "diagonal", "dots", "cross"];

function lookOf(color: string, index: number, patterns: boolean): ClassColors {
  if (index === 0) return { strong: 0, weak: 0, hatch: "none" };
  const hatch = patterns ? (HATCHES[(index - 1) % HATCHES.length] ?? "none") : "none";
  return { strong: packed(color), weak: packed(color, 110), hatch };
}

function colored(image: IndexImage, box: Box, looks: readonly ClassColors[]): ImageData {
  const [width, height] = [box.right - box.left, box.bottom - box.top];
  const out = new Uint32Array(width * height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const look = looks[image.pixels[(box.top + y) * image.width + box.left + x] ?? 0];
      if (!look) continue;
      const on = look.hatch === "none" || inHatch(look.hatch, box.left + x, box.top + y);
      out[y * width + x] = on ? look.strong : look.weak;
    }
  return new ImageData(new Uint8ClampedArray(out.buffer), width, height);
}

function drawOn(
  canvas: HTMLCanvasElement | null,
  viewer: OpenSeadragon.Viewer,
  picture: HTMLCanvasElement,
  place: Rectangle,
): void {
  const item = slideItem(viewer);
  const context = canvas?.getContext("2d");
  if (!canvas || !context || !item) return;
  const { clientWidth, clientHeight } = viewer.container;
  if (canvas.width !== clientWidth || canvas.height !== clientHeight)
    Object.assign(canvas, { width: clientWidth, height: clientHeight });
  const corner = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(place.x, place.y));
  const opposite = item.imageToViewerElementCoordinates(
    new OpenSeadragon.Point(place.x + place.width, place.y + place.height),
  );
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  context.drawImage(picture, corner.x, corner.y, opposite.x - corner.x, opposite.y - corner.y);
}

/** Return where in the mask a point of the slide lies. */
function inMask(at: Point, { place, image }: PaintLayerProps): Point {
  return {
    x: ((at.x - place.x) / place.width) * image.width,
    y: ((at.y - place.y) / place.height) * image.height,
  };
}

interface Pressed {
  position: OpenSeadragon.Point;
  preventDefaultAction: boolean;
}

/** Paint with what moves the slide otherwise; the wheel still zooms. */
function usePointer(
  latest: { current: PaintLayerProps },
  setCursor: (at: Point) => void,
  setKeyed: (by: boolean) => void,
): void {
  const { viewer } = latest.current;
  useEffect(() => {
    let down = false;
    const at = (position: OpenSeadragon.Point): Point | null => {
      const point = slideItem(viewer)?.viewerElementToImageCoordinates(position);
      return point ? inMask(point, latest.current) : null;
    };
    const press = (event: Pressed) => {
      const point = at(event.position);
      if (!latest.current.painting || !point) return;
      down = true;
      latest.current.onPress(point);
    };
    const drag = (event: Pressed) => {
      if (!latest.current.painting) return;
      event.preventDefaultAction = true;
      const point = at(event.position);
      if (!down || !point) return;
      setCursor(point);
      latest.current.onMove(point);
    };
    const release = () => {
      if (down) latest.current.onRelease();
      down = false;
    };
    const still = (event: Pressed) => {
      if (latest.current.painting) event.preventDefaultAction = true;
    };
    const hover = (event: PointerEvent) => {
      const point = positionOf(viewer, event);
      if (!point || !latest.current.painting) return;
      setKeyed(false);
      setCursor(inMask(point, latest.current));
    };
    const handlers: [string, (event: Pressed) => void][] = [
      ["canvas-press", press],
      ["canvas-drag", drag],
      ["canvas-drag-end", still],
      ["canvas-release", release],
      ["canvas-click", still],
      ["canvas-double-click", still],
    ];
    for (const [name, handler] of handlers) viewer.addHandler(name as "canvas-press", handler as never);
    viewer.container.addEventListener("pointermove", hover);
    return () => {
      for (const [name, handler] of handlers) viewer.removeHandler(name as "canvas-press", handler as never);
      viewer.container.removeEventListener("pointermove", hover);
    };
  }, [viewer, latest, setCursor, setKeyed]);
}

/** Arrow keys move the cursor while one paints, with Shift by ten pixels. */
function useKeys(
  latest: { current: PaintLayerProps },
  cursor: Point,
  setCursor: (at: Point) => void,
  setKeyed: (by: boolean) => void,
): void {
  const at = useRef(cursor);
  at.current = cursor;
  const { viewer } = latest.current;
  useEffect(() => {
    const pressed = (event: OpenSeadragon.CanvasKeyEvent) => {
      const key = event.originalEvent as KeyboardEvent;
      const { painting, image, onKey } = latest.current;
      if (!painting) return;
      const arrow = ARROWS[key.key];
      if (!arrow) {
        if (onKey(key.key, at.current, key) || /^[0-9]$/.test(key.key)) event.preventDefaultAction = true;
        return;
      }
      event.preventDefaultAction = true;
      const step = key.shiftKey ? FAST : 1;
      const next = {
        x: clamp(Math.floor(at.current.x) + 0.5 + arrow[0] * step, image.width),
        y: clamp(Math.floor(at.current.y) + 0.5 + arrow[1] * step, image.height),
      };
      setKeyed(true);
      setCursor(next);
      latest.current.onMove(next);
      keepInSight(viewer, next, latest.current);
    };
    viewer.addHandler("canvas-key", pressed);
    return () => viewer.removeHandler("canvas-key", pressed);
  }, [viewer, latest, setCursor, setKeyed]);
}

function clamp(value: number, most: number): number {
  return Math.min(most - 0.5, Math.max(0.5, value));
}

function keepInSight(viewer: OpenSeadragon.Viewer, at: Point, { place, image }: PaintLayerProps): void {
  const item = slideItem(viewer);
  if (!item) return;
  const point = item.imageToViewportCoordinates(
    place.x + (at.x / image.width) * place.width,
    place.y + (at.y / image.height) * place.height,
  );
  if (!viewer.viewport.getBounds(true).containsPoint(point)) viewer.viewport.panTo(point);
}

function Cursor({
  viewer,
  image,
  place,
  radius,
  at,
  keyed,
}: PaintLayerProps & { at: Point; keyed: boolean }) {
  const group = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const show = () => {
      const item = slideItem(viewer);
      if (!item || !group.current) return;
      const centre = item.imageToViewerElementCoordinates(
        new OpenSeadragon.Point(
          place.x + (at.x / image.width) * place.width,
          place.y + (at.y / image.height) * place.height,
        ),
      );
      const zoom = item.viewportToImageZoom(viewer.viewport.getZoom(true));
      const side = Math.max(5, 2 * radius * (place.width / image.width) * zoom);
      Object.assign(group.current.style, {
        left: `${centre.x - side / 2}px`,
        top: `${centre.y - side / 2}px`,
        width: `${side}px`,
        height: `${side}px`,
      });
    };
    show();
    viewer.addHandler("update-viewport", show);
    return () => viewer.removeHandler("update-viewport", show);
  }, [viewer, image, place, radius, at]);
  return <div ref={group} class={`paint-cursor${keyed ? " keyed" : ""}`} aria-hidden="true" />;
}
