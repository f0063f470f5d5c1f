/** A window on a slide: OpenSeadragon with layers over it, a scale bar, coordinates, and shapes in slide pixels. */
import OpenSeadragon from "openseadragon";
import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { asProblem, type Problem } from "../api/problem";
import { scaleBar } from "../pure/scale_bar";
import type { Rectangle, View } from "../pure/slide_view";
import { DrawRectangle } from "./DrawRectangle";
import type { Link } from "./link";
import { Shapes } from "./Shapes";
import "./slide.css";
import { type ClassLook, openSource } from "./sources";

/** An image over the slide. */
export interface Layer {
  /** The same as long as it shows the same pixels. */
  key: string;
  /** Of its ".dzi". */
  url: string;
  /** What of the slide it covers, in slide pixels. */
  place: Rectangle;
  /** 0 to 1. */
  opacity: number;
  look: ClassLook | null;
}

export interface DeepZoomViewProps {
  /** What is shown, for screen readers. */
  label: string;
  /** Of the slide's ".dzi". */
  url: string;
  width: number;
  height: number;
  /** µm per pixel of the slide; null: not known. */
  mpp: number | null;
  layers: readonly Layer[];
  /** Where to look first; null: at `focus`. */
  view: View | null;
  /** What to show whole at first where there is no view; none: the whole slide. */
  focus?: Rectangle | null;
  onView?: (view: View) => void;
  link?: Link | null;
  /** A rectangle is being drawn. */
  drawing?: boolean;
  onDrawn?: (corner: { x: number; y: number }, opposite: { x: number; y: number }) => void;
  /** SVG in slide pixels; lines do not scale. */
  shapes?: ComponentChildren;
  /** What lies over the window and takes part in its events. */
  over?: (viewer: OpenSeadragon.Viewer) => ComponentChildren;
  navigator?: boolean;
}

/** Draw a slide with its layers. Arrows pan, + and - zoom, 0 shows all. */
export function DeepZoomView(props: DeepZoomViewProps) {
  const { label, url, width, height, mpp, layers, view, onView, link } = props;
  const place = useRef<HTMLDivElement>(null);
  const [viewer, setViewer] = useState<OpenSeadragon.Viewer | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [waiting, setWaiting] = useState(false);
  const first = useRef({ view, focus: props.focus ?? null });

  useEffect(() => {
    if (!place.current) return;
    const made = OpenSeadragon(optionsFor(place.current, props.navigator ?? true));
    let current = true;
    made.canvas.setAttribute("role", "application");
    made.addHandler("canvas-key", keepOurKeys);
    openSource(url, null, setWaiting)
      .then((tileSource) => current && made.open([{ tileSource }] as never))
      .catch((error: unknown) => current && setProblem(asProblem(error)));
    made.addOnceHandler("open", () => {
      goTo(made, first.current.view, first.current.focus);
      setViewer(made);
      // what measures and tests wait for
      slideItem(made)?.addHandler("fully-loaded-change", (event) => {
        made.element.dataset.loaded = String(event.fullyLoaded);
      });
    });
    return () => {
      current = false;
      setViewer(null);
      made.destroy();
    };
  }, [url, props.navigator]);
  useEffect(() => {
    viewer?.canvas.setAttribute("aria-label", `${label}. Arrow keys pan, plus and minus zoom, 0 shows all.`);
  }, [viewer, label]);

  useLayers(viewer, layers, width);
  useReportedView(viewer, onView);
  useEffect(() => (viewer && link ? link.join(viewer) : undefined), [viewer, link]);

  return (
    <div class="deep-zoom">
      <div class="deep-zoom-canvas" ref={place} />
      {viewer ? (
        <>
          {props.over?.(viewer)}
          <Shapes viewer={viewer}>{props.shapes}</Shapes>
          {props.drawing && props.onDrawn ? <DrawRectangle viewer={viewer} onDrawn={props.onDrawn} /> : null}
          <Foot viewer={viewer} mpp={mpp} size={{ width, height }} />
        </>
      ) : (
        <p class="deep-zoom-note" role="status">
          {problem ? `The slide cannot be shown: ${problem.detail}` : "Opening the slide …"}
        </p>
      )}
      {waiting ? (
        <p class="deep-zoom-note" role="status">
          This slide has no reduced levels: an overview of it is being made, once …
        </p>
      ) : null}
    </div>
  );
}

function optionsFor(element: HTMLElement, navigator: boolean): OpenSeadragon.Options {
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  return {
    element,
    drawer: "canvas",
    showNavigationControl: false,
    showNavigator: navigator,
    navigatorPosition: "TOP_RIGHT",
    navigatorAutoFade: false,
    navigatorSizeRatio: 0.16,
    animationTime: still ? 0 : 0.5,
    maxZoomPixelRatio: 10,
    minZoomImageRatio: 0.6,
    visibilityRatio: 0.3,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    imageLoaderLimit: 6,
    timeout: 120_000,
    tileRetryMax: 2,
    tileRetryDelay: 2000,
    loadTilesWithAjax: false,
  };
}

/** OpenSeadragon turns and flips by r and f, and pans by w, a, s, d: those keys are left to the page. */
function keepOurKeys(event: OpenSeadragon.CanvasKeyEvent): void {
  const { key } = event.originalEvent as KeyboardEvent;
  if (/^[a-z]$/i.test(key)) event.preventDefaultAction = true;
}

/** Return the image of the slide itself. */
export function slideItem(viewer: OpenSeadragon.Viewer): OpenSeadragon.TiledImage | undefined {
  return viewer.world.getItemCount() ? viewer.world.getItemAt(0) : undefined;
}

function goTo(viewer: OpenSeadragon.Viewer, view: View | null, focus: Rectangle | null): void {
  const item = slideItem(viewer);
  if (!item) return;
  if (view) {
    viewer.viewport.zoomTo(item.imageToViewportZoom(view.zoom), undefined, true);
    viewer.viewport.panTo(item.imageToViewportCoordinates(new OpenSeadragon.Point(view.x, view.y)), true);
  } else if (focus) {
    const { x, y, width, height } = focus;
    viewer.viewport.fitBounds(item.imageToViewportRectangle(x, y, width, height), true);
  }
}

function viewOf(viewer: OpenSeadragon.Viewer): View | null {
  const item = slideItem(viewer);
  if (!item) return null;
  const centre = item.viewportToImageCoordinates(viewer.viewport.getCenter(true));
  return { x: centre.x, y: centre.y, zoom: item.viewportToImageZoom(viewer.viewport.getZoom(true)) };
}

type Items = Map<string, OpenSeadragon.TiledImage | null>;

/** Keep the layers of a viewer what they should be; an opacity that changes fetches and makes nothing. */
function useLayers(viewer: OpenSeadragon.Viewer | null, layers: readonly Layer[], width: number): void {
  const held = useRef<{ viewer: OpenSeadragon.Viewer | null; items: Items }>({
    viewer: null,
    items: new Map(),
  });
  const wanted = useRef(layers);
  wanted.current = layers;
  useEffect(() => {
    if (!viewer) return;
    if (held.current.viewer !== viewer) held.current = { viewer, items: new Map() };
    const { items } = held.current;
    dropOthers(viewer, items, layers);
    for (const layer of layers) {
      const item = items.get(layer.key);
      if (item) item.setOpacity(layer.opacity);
      else if (item === undefined && layer.opacity > 0)
        addLayer(viewer, items, layer, width, () => wanted.current);
    }
  }, [viewer, layers, width]);
}

function dropOthers(viewer: OpenSeadragon.Viewer, items: Items, layers: readonly Layer[]): void {
  for (const [key, item] of items) {
    if (layers.some((layer) => layer.key === key)) continue;
    if (item) viewer.world.removeItem(item);
    items.delete(key);
  }
}

/** Fetch a layer's shape and put it over the slide; null in `items` says that it is on its way. */
function addLayer(
  viewer: OpenSeadragon.Viewer,
  items: Items,
  layer: Layer,
  width: number,
  wanted: () => readonly Layer[],
): void {
  items.set(layer.key, null);
  const now = () => wanted().find((one) => one.key === layer.key);
  const arrived = (item: OpenSeadragon.TiledImage) => {
    const shown = now();
    if (!shown) return viewer.world.removeItem(item);
    items.set(layer.key, item);
    item.setOpacity(shown.opacity);
    for (const one of wanted()) {
      const above = items.get(one.key);
      if (above) viewer.world.setItemIndex(above, viewer.world.getItemCount() - 1);
    }
  };
  openSource(layer.url, layer.look, () => {})
    .then((tileSource) => {
      if (!now() || items.get(layer.key) !== null || !viewer.world) return;
      viewer.addTiledImage({
        tileSource: tileSource as never,
        x: layer.place.x / width,
        y: layer.place.y / width,
        width: layer.place.width / width,
        opacity: now()?.opacity ?? 0,
        success: (event) => arrived((event as unknown as { item: OpenSeadragon.TiledImage }).item),
      });
    })
    .catch(() => items.delete(layer.key));
}

const SETTLED_MS = 250;

/** Say where one looks, once that has come to rest. */
function useReportedView(
  viewer: OpenSeadragon.Viewer | null,
  onView: ((view: View) => void) | undefined,
): void {
  const latest = useRef(onView);
  latest.current = onView;
  useEffect(() => {
    if (!viewer) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const moved = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        const view = viewOf(viewer);
        if (view) latest.current?.(view);
      }, SETTLED_MS);
    };
    viewer.addHandler("viewport-change", moved);
    return () => {
      clearTimeout(timer);
      viewer.removeHandler("viewport-change", moved);
    };
  }, [viewer]);
}

/** The scale bar, and where the pointer is (else the middle of the window). */
function Foot({
  viewer,
  mpp,
  size,
}: {
  viewer: OpenSeadragon.Viewer;
  mpp: number | null;
  size: { width: number; height: number };
}) {
  const [view, setView] = useState<View | null>(() => viewOf(viewer));
  const [pointer, setPointer] = useState<{ x: number; y: number } | null>(null);
  const update = useCallback(() => setView(viewOf(viewer)), [viewer]);
  useEffect(() => {
    viewer.addHandler("viewport-change", update);
    viewer.addHandler("resize", update);
    const element = viewer.container;
    const move = (event: PointerEvent) => setPointer(positionOf(viewer, event));
    const leave = () => setPointer(null);
    element.addEventListener("pointermove", move);
    element.addEventListener("pointerleave", leave);
    return () => {
      viewer.removeHandler("viewport-change", update);
      viewer.removeHandler("resize", update);
      element.removeEventListener("pointermove", move);
      element.removeEventListener("pointerleave", leave);
    };
  }, [viewer, update]);
  if (!view) return null;
  const bar = scaleBar((mpp ?? 1) / view.zoom, mpp === null ? "px" : "µm");
  const at = pointer ?? view;
  const inside = at.x >= 0 && at.y >= 0 && at.x < size.width && at.y < size.height;
  return (
    <div class="deep-zoom-foot">
      {bar ? (
        <span
          class="scale-bar"
          title={mpp === null ? "The slide has no pixel size: lengths are in pixels" : ""}
        >
          <span class="scale-bar-line" style={{ width: `${bar.px}px` }} />
          {bar.label}
          {mpp === null ? " (no pixel size)" : ""}
        </span>
      ) : null}
      <span class="mono">
        {pointer ? "pointer" : "centre"}{" "}
        {inside ? (
          <>
            {Math.floor(at.x)}, {Math.floor(at.y)} px <span class="in-um">{inMicrometres(at, mpp)}</span>
          </>
        ) : (
          "outside the slide"
        )}
      </span>
    </div>
  );
}

function inMicrometres(at: { x: number; y: number }, mpp: number | null): string {
  return mpp === null ? "" : `(${(at.x * mpp).toFixed(0)}, ${(at.y * mpp).toFixed(0)} µm)`;
}

/** Return where on the slide a pointer is. */
export function positionOf(
  viewer: OpenSeadragon.Viewer,
  event: { clientX: number; clientY: number },
): { x: number; y: number } | null {
  const item = slideItem(viewer);
  if (!item) return null;
  const box = viewer.container.getBoundingClientRect();
  const point = new OpenSeadragon.Point(event.clientX - box.left, event.clientY - box.top);
  const { x, y } = item.viewerElementToImageCoordinates(point);
  return { x, y };
}
