import { Link } from "wouter-preact";
import { sendJson } from "../../api/client";
import { FINAL_STATES, useJob } from "../../api/events";
import { useAction, useResource } from "../../api/resource";
import type { ApiShape, Segmentation, Slide } from "../../api/types";
import { formatDuration, formatNumber } from "../../pure/format";
import type { Rectangle } from "../../pure/slide_view";
import { Button } from "../../ui/Button";
import { Loaded } from "../../ui/Loading";
import { ProblemNote } from "../../ui/Notice";
import { JobProgress } from "../../ui/Progress";
import { StateBadge } from "../../ui/StateBadge";

type Cost = ApiShape<"SegmentationCost">;

export interface RegionPanelProps {
  slide: Slide;
  segmentation: Segmentation | null;
  region: Rectangle | null;
  onRegion: (region: Rectangle | null) => void;
  drawing: boolean;
  onDraw: (drawing: boolean) => void;
  /** A job that was started here, and the segmentation it makes. */
  started: { job: string; id: string } | null;
  onStarted: (started: { job: string; id: string } | null) => void;
  onShow: (id: string) => void;
}

/** Segment only a part again: draw it or type it, see what it takes, start. */
export function RegionPanel(props: RegionPanelProps) {
  const { slide, segmentation, region, onRegion, drawing, onDraw } = props;
  return (
    <div class="stack">
      <p>
        Look closer at a part: draw a rectangle on the slide, or type it. The result is a segmentation of its
        own; the mask of the whole slide stays.
      </p>
      <div class="row">
        <Button aria-pressed={drawing} onClick={() => onDraw(!drawing)}>
          {drawing ? "Draw on the slide now (Esc ends)" : "Draw a rectangle"}
        </Button>
        {region ? <Button onClick={() => onRegion(null)}>Remove it</Button> : null}
      </div>
      <Numbers slide={slide} region={region} onRegion={onRegion} />
      {region && segmentation ? <Run {...props} region={region} model={segmentation.model} /> : null}
      {region && !segmentation ? <More slide={slide} region={region} model="" /> : null}
    </div>
  );
}

const EDGES: readonly [keyof Rectangle, string][] = [
  ["x", "Left"],
  ["y", "Top"],
  ["width", "Width"],
  ["height", "Height"],
];

function Numbers({
  slide,
  region,
  onRegion,
}: {
  slide: Slide;
  region: Rectangle | null;
  onRegion: RegionPanelProps["onRegion"];
}) {
  const now = region ?? { x: 0, y: 0, width: slide.width, height: slide.height };
  const change = (edge: keyof Rectangle, value: number) => {
    if (!Number.isFinite(value)) return;
    const next = { ...now, [edge]: Math.round(value) };
    const x = Math.min(Math.max(0, next.x), slide.width - 1);
    const y = Math.min(Math.max(0, next.y), slide.height - 1);
    const width = Math.min(Math.max(1, next.width), slide.width - x);
    onRegion({ x, y, width, height: Math.min(Math.max(1, next.height), slide.height - y) });
  };
  return (
    <fieldset class="region-numbers">
      <legend>In pixels of the slide</legend>
      {EDGES.map(([edge, label]) => (
        <label key={edge}>
          {label}
          <input
            type="number"
            min={0}
            value={now[edge]}
            onChange={(e) => change(edge, Number(e.currentTarget.value))}
          />
        </label>
      ))}
    </fieldset>
  );
}

function Run({
  slide,
  region,
  model,
  started,
  onStarted,
  onShow,
}: RegionPanelProps & { region: Rectangle; model: string }) {
  const path = `/v1/slides/${encodeURIComponent(slide.id)}/segmentations`;
  const body = { model, region, uncertainty: { sampler: "auto" } };
  const cost = useResource(`${path} ${JSON.stringify(body)}`, (signal) =>
    sendJson<Cost>("POST", `${path}/cost`, body, { signal }),
  );
  const start = useAction(async () => {
    const made = await sendJson<ApiShape<"Started">>("POST", path, body);
    onStarted({ job: made.job, id: made.id });
  });
  return (
    <>
      <section aria-live="polite">
        <Loaded of={cost} what="the cost">
          {(found) => (
            <p>
              With <code>{model}</code>: {formatNumber(found.network_runs)} network runs, {timeOf(found)}
            </p>
          )}
        </Loaded>
      </section>
      <ProblemNote problem={start.problem} />
      <div class="row">
        <Button look="primary" busy={start.running} disabled={!cost.data} onClick={() => void start.run()}>
          Segment this region
        </Button>
        <More slide={slide} region={region} model={model} />
      </div>
      {started ? <Progress started={started} onShow={onShow} /> : null}
    </>
  );
}

function timeOf(cost: Cost): string {
  if (!cost.time) return "how long that takes is not known yet: this model has not run on this machine.";
  return `about ${formatDuration(cost.time.low_s)} to ${formatDuration(cost.time.high_s)} (${cost.time.basis}).`;
}

function More({ slide, region, model }: { slide: Slide; region: Rectangle; model: string }) {
  const chosen = model ? `&model=${encodeURIComponent(model)}` : "";
  const where = [region.x, region.y, region.width, region.height].join(",");
  return <Link href={`/segment?slides=${slide.id}&region=${where}${chosen}`}>Another model or sampler</Link>;
}

function Progress({
  started,
  onShow,
}: {
  started: { job: string; id: string };
  onShow: (id: string) => void;
}) {
  const { job, problem } = useJob(started.job);
  return (
    <section class="stack tight" aria-label="Progress">
      <ProblemNote problem={problem} />
      {job ? (
        <div class="row">
          <StateBadge state={job.state} />
          {job.error ? <span>{job.error.message}</span> : null}
        </div>
      ) : null}
      {job && !FINAL_STATES.includes(job.state) ? (
        <JobProgress progress={job.progress} label="Region" />
      ) : null}
      {job?.state === "succeeded" ? (
        <div>
          <Button look="primary" onClick={() => onShow(started.id)}>
            Show its mask
          </Button>
        </div>
      ) : null}
    </section>
  );
}
