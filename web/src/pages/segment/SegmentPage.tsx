import type { ComponentChildren } from "preact";
import { useCallback, useMemo } from "preact/hooks";
import { Link } from "wouter-preact";
import { type ApiCall, useApiCalls } from "../../api/calls";
import { getAll, getJson, sendJson } from "../../api/client";
import { useAction, useResource } from "../../api/resource";
import type { ApiShape, ModelVersion, Slide } from "../../api/types";
import { count, formatDuration, formatNumber } from "../../pure/format";
import {
  idsIn,
  type Precision,
  SAMPLERS,
  type SegmentationWish,
  type SlideCost,
  together,
  wishIn,
} from "../../pure/segment_request";
import { announce } from "../../ui/announce";
import { Button, ButtonLink } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { Empty, Loaded } from "../../ui/Loading";
import { Notice, ProblemNote } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { useParameters } from "../../ui/url";
import { isChosen, ModelChoice, nameOf } from "./ModelChoice";
import { BatchRun, SlideRun } from "./Run";
import "./segment.css";

/** Choose a model and how it is to doubt, see what that takes, start, and watch. */
export default function SegmentPage() {
  const [parameters, setParameters] = useParameters();
  const ids = useMemo(() => idsIn(parameters.get("slides")), [parameters]);
  const slides = useResource(ids.join() || null, (signal) =>
    Promise.all(ids.map((id) => getJson<Slide>(`/v1/slides/${encodeURIComponent(id)}`, signal))),
  );
  const models = useResource("models", (signal) => getAll<ModelVersion>("/v1/models", signal, 200));
  const wish = wishIn(parameters, models.data?.[0] ? nameOf(models.data[0]) : "");
  useApiCalls(callsOf(ids, wish));
  const running = parameters.get("seg") ?? parameters.get("batch");
  if (!ids.length && !running)
    return (
      <>
        <PageHead title="Segment" />
        <Empty title="Which slides?">
          <p>Choose one or more slides first, then come back here with “Segment”.</p>
          <ButtonLink href="/slides" look="primary">
            To the slides
          </ButtonLink>
        </Empty>
      </>
    );
  return (
    <>
      <PageHead title="Segment" about={slides.data ? <SlideNames slides={slides.data} /> : null} />
      <div class="stack">
        {parameters.get("seg") ? <SlideRun id={parameters.get("seg") ?? ""} /> : null}
        {parameters.get("batch") ? <BatchRun id={parameters.get("batch") ?? ""} /> : null}
        {ids.length ? (
          <Settings folded={Boolean(running)}>
            <Loaded of={slides} what="the slides">
              {(shown) => (
                <Loaded of={models} what="the models">
                  {(known) => <Choices slides={shown} models={known} wish={wish} set={setParameters} />}
                </Loaded>
              )}
            </Loaded>
          </Settings>
        ) : null}
      </div>
    </>
  );
}

/** The choices; once something runs they are folded away below it. */
function Settings({ folded, children }: { folded: boolean; children: ComponentChildren }) {
  if (!folded) return <div class="stack">{children}</div>;
  return (
    <details>
      <summary>Again with another model or settings</summary>
      <div class="stack" style={{ marginTop: "0.75rem" }}>
        {children}
      </div>
    </details>
  );
}

function SlideNames({ slides }: { slides: readonly Slide[] }) {
  const shown = slides.slice(0, 4);
  return (
    <>
      {shown.map((slide, n) => (
        <span key={slide.id}>
          {n ? ", " : ""}
          <Link href={`/slides/${slide.id}`}>{slide.name}</Link>
        </span>
      ))}
      {slides.length > shown.length ? ` and ${slides.length - shown.length} more` : ""}
    </>
  );
}

interface ChoicesProps {
  slides: readonly Slide[];
  models: readonly ModelVersion[];
  wish: SegmentationWish;
  set: ReturnType<typeof useParameters>[1];
}

function Choices({ slides, models, wish, set }: ChoicesProps) {
  const start = useAction(async () => {
    if (slides.length === 1 && slides[0]) {
      const made = await sendJson<ApiShape<"Started">>(
        "POST",
        `/v1/slides/${encodeURIComponent(slides[0].id)}/segmentations`,
        wish,
      );
      set({ seg: made.id, batch: null }, "push");
    } else {
      const body = { slides: slides.map((s) => s.id), segmentation: wish };
      const made = await sendJson<ApiShape<"BatchView">>("POST", "/v1/batches", body);
      set({ batch: made.id, seg: null }, "push");
    }
    announce("Started");
    document.querySelector("h1")?.scrollIntoView();
  });
  const model = models.find((m) => isChosen(m, wish.model));
  const unsized = slides.filter((s) => s.mpp === null && model?.card.mpp !== null);
  if (!models.length)
    return (
      <Empty title="There is no model yet">
        <p>Import one on the models page, or train on your own sections with a benchmark.</p>
        <ButtonLink href="/models">To the models</ButtonLink>
      </Empty>
    );
  return (
    <>
      {model?.card.synthetic ? (
        <Notice tone="warn" title="This model has never seen tissue">
          <p>
            It was trained on synthetic arteries. It shows that everything works; do not report its numbers on
            real sections.
          </p>
        </Notice>
      ) : null}
      {unsized.length ? (
        <Notice tone="bad" title="No pixel size">
          <p>
            {unsized.map((s) => s.name).join(", ")}: the file does not say how large a pixel is, and this
            model needs to know. Give it on the <Link href="/slides">slides page</Link>.
          </p>
        </Notice>
      ) : null}
      <ModelChoice models={models} chosen={wish.model} onChoose={(name) => set({ model: name })} />
      <Doubt wish={wish} model={model} set={set} />
      <CostNote slides={slides} wish={wish} />
      <ProblemNote problem={start.problem} />
      <div class="row">
        <Button look="primary" busy={start.running} disabled={!model} onClick={() => void start.run()}>
          Segment {count(slides.length, "slide")}
        </Button>
        <span class="soft small">
          What was asked for before with the same model and settings is answered at once.
        </span>
      </div>
    </>
  );
}

function Doubt({
  wish,
  model,
  set,
}: {
  wish: SegmentationWish;
  model: ModelVersion | undefined;
  set: ChoicesProps["set"];
}) {
  const sampler = SAMPLERS.find((s) => s.key === wish.uncertainty.sampler) ?? SAMPLERS[0];
  const precisions: Precision[] = [
    "auto",
    "fp32",
    ...(model?.card.variants ?? []).map((v) => v.precision).filter((p) => p !== "fp32"),
  ];
  return (
    <section class="card stack">
      <h2>Uncertainty and precision</h2>
      <div class="grid">
        <Field label="Sampler" hint={sampler?.about}>
          {(given) => (
            <select
              {...given}
              value={wish.uncertainty.sampler}
              onChange={(e) => set({ sampler: e.currentTarget.value, passes: null })}
            >
              {SAMPLERS.map((s) => (
                <option key={s.key} value={s.key}>
                  {s.label}
                </option>
              ))}
            </select>
          )}
        </Field>
        <Field label="Passes" hint="More passes, smoother maps, more time. Empty: the model's own number.">
          {(given) => (
            <input
              {...given}
              type="number"
              min={1}
              max={64}
              value={wish.uncertainty.passes ?? ""}
              onChange={(e) => set({ passes: e.currentTarget.value })}
            />
          )}
        </Field>
        <Field label="Seed" hint="The same seed gives the same map, bit for bit.">
          {(given) => (
            <input
              {...given}
              type="number"
              min={0}
              value={wish.uncertainty.seed}
              onChange={(e) => set({ seed: e.currentTarget.value })}
            />
          )}
        </Field>
        <Field
          label="Precision"
          hint="fp32 is what was scored; the others are those this model was published in."
        >
          {(given) => (
            <select
              {...given}
              value={wish.precision}
              onChange={(e) =>
                set({ precision: e.currentTarget.value === "auto" ? null : e.currentTarget.value })
              }
            >
              {precisions.map((p) => (
                <option key={p} value={p}>
                  {p === "auto" ? "Automatic (fp32)" : p}
                </option>
              ))}
            </select>
          )}
        </Field>
      </div>
      <label class="row">
        <input
          type="checkbox"
          checked={wish.background === "segment"}
          onChange={(e) => set({ background: e.currentTarget.checked ? "segment" : null })}
        />
        Look at bare glass too (slower; for sections so pale that they are taken for glass)
      </label>
      {wish.region ? (
        <div class="row">
          <span>
            Only the region {formatNumber(wish.region.width)} × {formatNumber(wish.region.height)} px at (
            {formatNumber(wish.region.x)}, {formatNumber(wish.region.y)})
          </span>
          <Button compact onClick={() => set({ region: null })}>
            The whole slide instead
          </Button>
        </div>
      ) : null}
    </section>
  );
}

const MOST_COSTED = 20;

function CostNote({ slides, wish }: { slides: readonly Slide[]; wish: SegmentationWish }) {
  const asked = slides.slice(0, MOST_COSTED);
  const body = JSON.stringify(wish);
  const read = useCallback(
    (signal: AbortSignal) =>
      Promise.all(
        asked.map((s) =>
          sendJson<SlideCost>(
            "POST",
            `/v1/slides/${encodeURIComponent(s.id)}/segmentations/cost`,
            JSON.parse(body),
            { signal },
          ),
        ),
      ),
    [body, asked],
  );
  const costs = useResource(wish.model ? `${asked.map((s) => s.id).join()} ${body}` : null, read);
  return (
    <section class="card" aria-live="polite">
      <h2>What it takes</h2>
      <Loaded of={costs} what="the cost">
        {(found) => <Cost cost={together(found)} costed={asked.length} of={slides.length} />}
      </Loaded>
    </section>
  );
}

function Cost({ cost, costed, of }: { cost: SlideCost; costed: number; of: number }) {
  return (
    <p style={{ margin: 0 }}>
      At most {formatNumber(cost.network_runs)} network runs
      {costed < of ? ` for the first ${costed} of ${of} slides` : ""};{" "}
      {cost.time ? (
        <>
          {between(formatDuration(cost.time.low_s), formatDuration(cost.time.high_s))} of computing, after the
          wait <span class="soft">({cost.time.basis})</span>
        </>
      ) : (
        <span class="soft">
          how long that takes is not known yet: this model has not run on this machine.
        </span>
      )}
    </p>
  );
}

function between(low: string, high: string): string {
  return low === high ? (low.startsWith("less") ? low : `about ${low}`) : `about ${low} to ${high}`;
}

function callsOf(ids: readonly string[], wish: SegmentationWish): ApiCall[] {
  const models: ApiCall = { title: "The models and their cards", method: "GET", path: "/v1/models" };
  if (ids.length === 0) return [models];
  const first = `/v1/slides/${ids[0]}/segmentations`;
  const start: ApiCall =
    ids.length === 1
      ? { title: "Segment the slide", method: "POST", path: first, body: wish }
      : {
          title: "Segment the slides together",
          method: "POST",
          path: "/v1/batches",
          body: { slides: ids, segmentation: wish },
        };
  return [models, { title: "What it takes", method: "POST", path: `${first}/cost`, body: wish }, start];
}
