import { useMemo, useRef, useState } from "preact/hooks";
import { type ApiCall, useApiCalls } from "../../api/calls";
import { getAll } from "../../api/client";
import { useJson, useResource } from "../../api/resource";
import type { Segmentation, Slide } from "../../api/types";
import { formatNumber, formatQuantity } from "../../pure/format";
import { regionIn } from "../../pure/segment_request";
import {
  formatLayers,
  formatView,
  parseLayers,
  parseView,
  type Rectangle,
  rectangleOf,
  type View,
} from "../../pure/slide_view";
import { DeepZoomView, type Layer } from "../../slide/DeepZoomView";
import { Link } from "../../slide/link";
import { announce } from "../../ui/announce";
import { ButtonLink } from "../../ui/Button";
import { Loaded } from "../../ui/Loading";
import { PageHead } from "../../ui/PageHead";
import type { PageProps } from "../../ui/page_routes";
import { Tabs } from "../../ui/Tabs";
import { useParameters } from "../../ui/url";
import { ComparePanel } from "./ComparePanel";
import { FilesPanel } from "./FilesPanel";
import { LayersPanel } from "./LayersPanel";
import { Marks } from "./Marks";
import { MeasuresPanel } from "./MeasuresPanel";
import { RegionPanel } from "./RegionPanel";
import "./slide_page.css";
import { useShortcuts } from "./shortcuts";
import { CLASS_DEFAULT, classesOf, defaultsFor, differenceLayer, layersOf, useStoredColors } from "./shown";

/** One slide: the picture, what was found in it, how sure that is, and what came of it. */
export default function SlidePage({ parameters }: PageProps) {
  const id = parameters.id ?? "";
  const slide = useJson<Slide>(`/v1/slides/${encodeURIComponent(id)}`);
  const list = useResource(`segmentations of ${id}`, (signal) =>
    getAll<Segmentation>(`/v1/segmentations?slide=${encodeURIComponent(id)}`, signal, 200),
  );
  return (
    <Loaded of={slide} what="the slide">
      {(shown) => (
        <Loaded of={list} what="its segmentations">
          {(found) => <Bench slide={shown} found={found} reload={list.reload} />}
        </Loaded>
      )}
    </Loaded>
  );
}

function Bench({ slide, found, reload }: { slide: Slide; found: Segmentation[]; reload: () => void }) {
  const [parameters, set] = useParameters();
  const newest = found.find((s) => s.state === "succeeded");
  const a = useSegmentation(parameters.get("seg") ?? newest?.id ?? null, found);
  const b = useSegmentation(parameters.get("b"), found);
  const classes = useMemo(() => classesOf(a), [a]);
  const defaults = useMemo(() => defaultsFor(classes), [classes]);
  const said = parameters.get("layers");
  const shown = useMemo(() => parseLayers(said, defaults), [said, defaults]);
  const patterns = parameters.get("patterns") === "1";
  const region = regionIn(parameters.get("region"));
  const angle = parameters.has("angle") ? Number(parameters.get("angle")) : null;
  const vessel = Number(parameters.get("vessel") ?? 1);
  const [drawing, setDrawing] = useState(false);
  const [started, setStarted] = useState<{ job: string; id: string } | null>(null);
  const last = useRef<Record<string, number>>({});

  const show = (key: string, percent: number) => {
    if (percent > 0) last.current[key] = percent;
    set({ layers: formatLayers({ ...shown, [key]: percent }, defaults) });
  };
  const toggle = (key: string) => {
    const now = shown[key] ?? 0;
    if (now > 0) last.current[key] = now;
    const usual = classes.includes(key) ? CLASS_DEFAULT : 80;
    show(key, now > 0 ? 0 : (last.current[key] ?? usual));
    announce(`${key} ${now > 0 ? "hidden" : "shown"}`);
  };
  useShortcuts({
    classes,
    comparing: b !== null,
    onToggle: toggle,
    onPatterns: () => set({ patterns: patterns ? null : "1" }),
    onEscape: () => setDrawing(false),
  });
  useApiCalls(callsOf(slide, a, b));

  const showSegmentation = (id: string) => {
    if (!found.some((s) => s.id === id)) reload();
    set({ seg: id, b: null, vessel: null, angle: null }, "push");
  };
  return (
    <div class="slide-page">
      <div class="slide-head">
        <PageHead title={slide.name} about={<About slide={slide} />}>
          {a ? (
            <ButtonLink compact href={`/slides/${slide.id}/correct/${a.id}`}>
              Correct the mask
            </ButtonLink>
          ) : null}
          <ButtonLink compact look={a ? "normal" : "primary"} href={`/segment?slides=${slide.id}`}>
            Segment{a ? " again" : ""}
          </ButtonLink>
        </PageHead>
      </div>
      <div class="slide-body">
        {a ? (
          <aside class="slide-side layers" aria-label="Layers">
            <LayersPanel
              segmentation={a}
              comparing={b !== null}
              shown={shown}
              onShow={show}
              onToggle={toggle}
              patterns={patterns}
              onPatterns={(wanted) => set({ patterns: wanted ? "1" : null })}
            />
          </aside>
        ) : null}
        <Windows
          slide={slide}
          a={a}
          b={b}
          shown={shown}
          patterns={patterns}
          view={parseView(parameters.get("at"))}
          focus={a?.result?.region ?? null}
          onView={(view) => set({ at: formatView(view) })}
          drawing={drawing}
          onDrawn={(corner, opposite) => {
            const drawn = rectangleOf(corner, opposite, slide);
            setDrawing(false);
            if (drawn) set({ region: [drawn.x, drawn.y, drawn.width, drawn.height].join(",") });
          }}
          marks={a ? <Marks segmentation={a} vessel={vessel} angle={angle} region={region} /> : null}
        />
        <aside class="slide-side" aria-label="What was found">
          <Tabs
            label="What was found"
            shown={parameters.get("tab") ?? "measures"}
            onShow={(tab) => set({ tab: tab === "measures" ? null : tab })}
            tabs={[
              {
                key: "measures",
                label: "Measures",
                content: () =>
                  a ? (
                    <MeasuresPanel
                      segmentation={a}
                      vessel={vessel}
                      onVessel={(n) => set({ vessel: n === 1 ? null : String(n) })}
                      angle={angle}
                      onAngle={(n) => set({ angle: n === null ? null : String(n) })}
                    />
                  ) : (
                    <NothingYet slide={slide} />
                  ),
              },
              {
                key: "compare",
                label: "Compare",
                content: () =>
                  a ? (
                    <ComparePanel a={a} b={b} others={found} onB={(id) => set({ b: id }, "push")} />
                  ) : (
                    <NothingYet slide={slide} />
                  ),
              },
              {
                key: "region",
                label: "Region",
                content: () => (
                  <RegionPanel
                    slide={slide}
                    segmentation={a}
                    region={region}
                    onRegion={(r) => set({ region: r ? [r.x, r.y, r.width, r.height].join(",") : null })}
                    drawing={drawing}
                    onDraw={setDrawing}
                    started={started}
                    onStarted={setStarted}
                    onShow={showSegmentation}
                  />
                ),
              },
              {
                key: "files",
                label: "Files",
                content: () => (
                  <FilesPanel slide={slide} segmentation={a} others={found} onShow={showSegmentation} />
                ),
              },
            ]}
          />
        </aside>
      </div>
    </div>
  );
}

/** A finished segmentation by id, from the list or asked for by itself. */
function useSegmentation(id: string | null, found: readonly Segmentation[]): Segmentation | null {
  const listed = found.find((s) => s.id === id);
  const asked = useJson<Segmentation>(id && !listed ? `/v1/segmentations/${encodeURIComponent(id)}` : null);
  const shown = listed ?? asked.data;
  return shown?.result ? shown : null;
}

function About({ slide }: { slide: Slide }) {
  return (
    <span>
      {formatNumber(slide.width)} × {formatNumber(slide.height)} px,{" "}
      {slide.mpp === null
        ? "no pixel size: lengths are in pixels"
        : `${formatQuantity(slide.mpp, "µm")} per pixel`}
      {slide.subject ? `, subject ${slide.subject}` : ""}
    </span>
  );
}

function NothingYet({ slide }: { slide: Slide }) {
  return (
    <div class="stack">
      <p>Nothing was measured yet: this slide has no finished segmentation.</p>
      <ButtonLink look="primary" href={`/segment?slides=${slide.id}`}>
        Segment it
      </ButtonLink>
    </div>
  );
}

interface WindowsProps {
  slide: Slide;
  a: Segmentation | null;
  b: Segmentation | null;
  shown: Record<string, number>;
  patterns: boolean;
  view: View | null;
  focus: Rectangle | null;
  onView: (view: View) => void;
  drawing: boolean;
  onDrawn: (corner: { x: number; y: number }, opposite: { x: number; y: number }) => void;
  marks: preact.ComponentChildren;
}

/** One window, or two that move together. */
function Windows({ slide, a, b, shown, patterns, marks, ...rest }: WindowsProps) {
  const [link] = useState(() => new Link());
  const [colorsA, colorsB] = [useStoredColors(a?.model ?? null), useStoredColors(b?.model ?? null)];
  const difference = useMemo<Layer[]>(
    () => (a && b ? [differenceLayer(a, b, slide, shown.difference ?? 0)] : []),
    [a, b, slide, shown.difference],
  );
  const over = useMemo(
    () => [...(a ? layersOf(a, slide, shown, { colors: colorsA, patterns }) : []), ...difference],
    [a, slide, shown, colorsA, patterns, difference],
  );
  const overB = useMemo(
    () => [...(b ? layersOf(b, slide, shown, { colors: colorsB, patterns }) : []), ...difference],
    [b, slide, shown, colorsB, patterns, difference],
  );
  const shared = {
    url: `/v1/slides/${encodeURIComponent(slide.id)}/deepzoom.dzi`,
    width: slide.width,
    height: slide.height,
    mpp: slide.mpp,
    link,
  };
  return (
    <div class="slide-windows">
      <section class="slide-window" aria-label={b ? "Segmentation A" : "Slide"}>
        {b && a ? <WindowHead letter="A" segmentation={a} /> : null}
        <DeepZoomView {...shared} {...rest} label={`Slide ${slide.name}`} layers={over} shapes={marks} />
      </section>
      {b ? (
        <section class="slide-window" aria-label="Segmentation B">
          <WindowHead letter="B" segmentation={b} />
          <DeepZoomView
            {...shared}
            view={rest.view}
            focus={rest.focus}
            label={`Slide ${slide.name}, B`}
            layers={overB}
            navigator={false}
          />
        </section>
      ) : null}
    </div>
  );
}

function WindowHead({ letter, segmentation }: { letter: string; segmentation: Segmentation }) {
  return (
    <p class="slide-window-head">
      <strong>{letter}</strong> {segmentation.model}
    </p>
  );
}

function callsOf(slide: Slide, a: Segmentation | null, b: Segmentation | null): ApiCall[] {
  const calls: ApiCall[] = [
    { title: "The slide", method: "GET", path: `/v1/slides/${slide.id}` },
    { title: "Its segmentations", method: "GET", path: `/v1/segmentations?slide=${slide.id}` },
    {
      title: "The slide as a Deep Zoom image (OpenSeadragon opens it)",
      method: "GET",
      path: `/v1/slides/${slide.id}/deepzoom.dzi`,
    },
  ];
  if (a) {
    const base = `/v1/segmentations/${a.id}`;
    calls.push(
      { title: "Measures, uncertainty and provenance", method: "GET", path: base },
      { title: "The mask", method: "GET", path: `${base}/artefacts/mask.png`, saveAs: "mask.png" },
      { title: "The mask as a Deep Zoom layer", method: "GET", path: `${base}/layers/mask.dzi` },
    );
    if (b) calls.push({ title: "How far A and B agree", method: "GET", path: `${base}/differences/${b.id}` });
  }
  return calls;
}
