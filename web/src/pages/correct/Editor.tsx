import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type ApiCall, useApiCalls } from "../../api/calls";
import type { Segmentation, Slide } from "../../api/types";
import { colorOf } from "../../pure/classes";
import { formatMoment } from "../../pure/format";
import type { IndexImage } from "../../pure/index_png";
import type { Point } from "../../pure/painting";
import type { Rectangle } from "../../pure/slide_view";
import { DeepZoomView } from "../../slide/DeepZoomView";
import { PaintLayer } from "../../slide/PaintLayer";
import { announce } from "../../ui/announce";
import { Button, ButtonLink } from "../../ui/Button";
import { Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { Tabs } from "../../ui/Tabs";
import type { Versions } from "./CorrectPage";
import { DatasetPanel } from "./DatasetPanel";
import { type Draft, dropDraft } from "./drafts";
import { useHand } from "./hand";
import { LeaveGuard } from "./LeaveGuard";
import { LiveMeasures } from "./Measures";
import { usePage } from "./page_keys";
import { SavePanel } from "./SavePanel";
import { useSession } from "./session";
import { ToolPanel } from "./ToolPanel";
import { TOOLS, type ToolName } from "./tools";
import { VersionsPanel } from "./VersionsPanel";

export interface EditorProps {
  slide: Slide;
  segmentation: Segmentation;
  base: IndexImage;
  draft: { kept: Draft; image: IndexImage } | null;
  versions: Versions | null;
  reloadVersions: () => void;
}

/** Tools at the left, the slide with its mask, and what changes at the right. */
export function Editor({ slide, segmentation, base, draft, versions, reloadVersions }: EditorProps) {
  const [start, setStart] = useState(draft?.image ?? base);
  const [restored, setRestored] = useState(draft?.kept ?? null);
  const [note, setNote] = useState(draft?.kept.note ?? "");
  const [tool, setTool] = useState<ToolName>("brush");
  const [value, setValue] = useState(1);
  const [over, setOver] = useState<number | null>(null);
  const [size, setSize] = useState(8);
  const [percent, setPercent] = useState(60);
  const [patterns, setPatterns] = useState(false);
  const [tab, setTab] = useState("measures");
  const [asked, setAsked] = useState(0);
  const [saved, setSaved] = useState(false);
  const session = useSession(segmentation.id, base, start, note);
  const classes = useMemo(() => segmentation.areas.map((a) => a.name), [segmentation]);
  const colors = useMemo(() => classes.map(colorOf), [classes]);
  const place = useMemo(() => placeOf(segmentation, slide), [segmentation, slide]);
  const mpp = slide.mpp === null ? null : (slide.mpp * place.width) / base.width;
  const hand = useHand({ session, tool, value, over, size });
  const choose = (next: ToolName) => {
    setTool(next);
    announce(TOOLS.find((t) => t.name === next)?.label ?? "");
  };
  const undo = () => session.touched(session.painting.undo());
  const redo = () => session.touched(session.painting.redo());
  const last = useRef(60);
  const toggleMask = () => {
    if (percent) last.current = percent;
    setPercent(percent ? 0 : last.current);
  };
  usePage({
    classes: classes.length,
    onTool: choose,
    onValue: (n) => {
      setValue(n);
      announce(classes[n] ?? "");
    },
    size,
    onSize: setSize,
    onUndo: undo,
    onRedo: redo,
    onSave: () => setAsked((n) => n + 1),
    onMask: toggleMask,
    onPatterns: () => setPatterns((on) => !on),
  });
  useApiCalls(callsOf(segmentation));
  const from = segmentation.correction ? `version ${segmentation.correction.number}` : "the model's mask";
  return (
    <div class="slide-page correct-page">
      <div class="slide-head">
        <PageHead
          title={`Correct ${slide.name}`}
          about={
            <span>
              You start from {from}; the model is {segmentation.model}.
            </span>
          }
        >
          <ButtonLink compact href={`/slides/${slide.id}?seg=${segmentation.id}`}>
            Back to the slide
          </ButtonLink>
        </PageHead>
        {restored && !saved ? (
          <Notice tone="warn" title="Unsaved changes were kept in this browser">
            <p>
              From {formatMoment(restored.at)}. You go on from them.{" "}
              <Button
                compact
                onClick={() => {
                  void dropDraft(segmentation.id);
                  setRestored(null);
                  setNote("");
                  setStart(base);
                }}
              >
                Drop them
              </Button>{" "}
              <Button compact onClick={() => setRestored(null)}>
                Keep
              </Button>
            </p>
          </Notice>
        ) : null}
      </div>
      <div class="slide-body">
        <aside class="slide-side layers" aria-label="Tools">
          <ToolPanel
            {...{ classes, tool, value, over, size, percent, patterns, mpp }}
            onPatterns={setPatterns}
            onTool={choose}
            onValue={setValue}
            onOver={setOver}
            onSize={setSize}
            onPercent={setPercent}
            canUndo={session.painting.canUndo}
            canRedo={session.painting.canRedo}
            onUndo={undo}
            onRedo={redo}
          />
        </aside>
        <section class="slide-window" aria-label="Slide and mask">
          <DeepZoomView
            label={`Slide ${slide.name} with the mask that you correct; arrow keys move the cursor, Space paints`}
            url={`/v1/slides/${encodeURIComponent(slide.id)}/deepzoom.dzi`}
            width={slide.width}
            height={slide.height}
            mpp={slide.mpp}
            layers={NO_LAYERS}
            view={null}
            navigator={false}
            shapes={<Corners corners={hand.corners} image={base} place={place} />}
            over={(viewer) => (
              <PaintLayer
                viewer={viewer}
                image={session.painting.image}
                place={place}
                colors={colors}
                patterns={patterns}
                opacity={percent / 100}
                painting={tool !== "hand" && !saved}
                radius={["brush", "eraser"].includes(tool) ? size / 2 : 0}
                onReady={session.onReady}
                onPress={hand.press}
                onMove={hand.move}
                onRelease={hand.release}
                onKey={hand.key}
              />
            )}
          />
        </section>
        <aside class="slide-side" aria-label="What changes">
          <SavePanel
            slide={slide.id}
            id={segmentation.id}
            {...{ base, session, versions, reloadVersions, note, asked }}
            onNote={setNote}
            onSaved={setSaved}
          />
          <Tabs
            label="What changes"
            shown={tab}
            onShow={setTab}
            tabs={[
              {
                key: "measures",
                label: "Measures",
                content: () => <LiveMeasures session={session} from={from} />,
              },
              {
                key: "versions",
                label: "Versions",
                content: () => (
                  <VersionsPanel {...{ slide, segmentation, session, versions, reloadVersions }} />
                ),
              },
              {
                key: "dataset",
                label: "Data set",
                content: () => (
                  <DatasetPanel
                    slide={slide}
                    mpp={mpp}
                    parent={segmentation.correction?.parent ?? segmentation.id}
                  />
                ),
              },
            ]}
          />
        </aside>
      </div>
      <LeaveGuard active={session.changed > 0 && !saved} kept={session.drafts} />
    </div>
  );
}

const NO_LAYERS: never[] = [];

/** Return what of the slide the working image covers. */
function placeOf(segmentation: Segmentation, slide: Slide): Rectangle {
  const number = (name: string) => Number(segmentation.provenance[name]);
  const scale = number("working_scale");
  const [across, down] = [
    Math.max(1, Math.round(slide.width * scale)) / slide.width,
    Math.max(1, Math.round(slide.height * scale)) / slide.height,
  ];
  return {
    x: number("working_x") / across,
    y: number("working_y") / down,
    width: number("working_width") / across,
    height: number("working_height") / down,
  };
}

/** The polygon that is being drawn, in slide pixels. */
function Corners({
  corners,
  image,
  place,
}: {
  corners: readonly Point[];
  image: IndexImage;
  place: Rectangle;
}) {
  const onSlide = useCallback(
    (p: Point) => ({
      x: place.x + (p.x / image.width) * place.width,
      y: place.y + (p.y / image.height) * place.height,
    }),
    [image, place],
  );
  useEffect(() => {
    if (corners.length) announce(`${corners.length} corners`);
  }, [corners.length]);
  if (!corners.length) return null;
  const path = corners.map(onSlide).map(({ x, y }, n) => `${n ? "L" : "M"}${x} ${y}`);
  const first = onSlide(corners[0] as Point);
  return (
    <>
      <path class="halo" d={path.join(" ")} />
      <path class="line" d={path.join(" ")} />
      <circle class="line" cx={first.x} cy={first.y} r={place.width / 200} />
    </>
  );
}

function callsOf(segmentation: Segmentation): ApiCall[] {
  const base = `/v1/segmentations/${segmentation.id}`;
  return [
    { title: "The mask to paint on", method: "GET", path: `${base}/working_mask.png`, saveAs: "mask.png" },
    {
      title: "The measures of a mask that was painted",
      method: "POST",
      path: `${base}/corrections/preview`,
      file: { name: "mask.png", type: "image/png" },
    },
    {
      title: "Save it as a version",
      method: "POST",
      path: `${base}/corrections?base=${segmentation.id}&note=looked%20at`,
      file: { name: "mask.png", type: "image/png" },
    },
    { title: "Versions", method: "GET", path: `${base}/corrections` },
    {
      title: "The newest corrected masks as a data set",
      method: "POST",
      path: "/v1/datasets/from_corrections",
      body: { name: "corrected", licence: "internal use only", segmentations: [segmentation.id] },
    },
  ];
}
