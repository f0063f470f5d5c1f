import * as Plot from "@observablehq/plot";
import { useMemo } from "preact/hooks";
import { useAnswer, useKept } from "../../api/answer";
import { useApiCalls } from "../../api/calls";
import { sendJson } from "../../api/client";
import { FINAL_STATES, useJob } from "../../api/events";
import { useAction, useJson } from "../../api/resource";
import type { StatsShape } from "../../api/types";
import { Chart } from "../../charts/Chart";
import { formatPercent } from "../../pure/format";
import { apart } from "../../pure/labels";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { Notice, ProblemNote } from "../../ui/Notice";
import { JobProgress } from "../../ui/Progress";
import { useSettled } from "../../ui/settled";
import { Table } from "../../ui/Table";
import { useParameters } from "../../ui/url";
import { Warnings } from "../../ui/Warnings";
import { type Fields, fieldsOf, STABILITY_DEFAULTS, stabilityBody } from "./request";
import { TextField } from "./TextField";

type Point = StatsShape<"StabilityPoint">;
type Answer = StatsShape<"StabilityAnswer">;
type Figure = Exclude<keyof Point, "n">;

const FIGURES: readonly { key: Figure; label: string; dash: string; color: string }[] = [
  { key: "best_first", label: "the best model comes first", dash: "", color: "var(--series-1)" },
  { key: "same_winner", label: "two studies have the same first", dash: "6,4", color: "var(--series-2)" },
  { key: "whole_order", label: "the whole order is right", dash: "2,3", color: "var(--series-3)" },
  {
    key: "winner_frequent",
    label: "the first wins 95 % of resamples",
    dash: "9,3,2,3",
    color: "var(--series-4)",
  },
];

/** Above so many simulated data sets it runs as a job. */
const MOST_LIVE = 1000;

/** At how many subjects a ranking settles: live for few data sets, as a job for many. */
export function RankingsTab() {
  const [url, setUrl] = useParameters();
  const fields = fieldsOf(url, STABILITY_DEFAULTS);
  const asked = stabilityBody(fields);
  const live = Number(fields.sets) <= MOST_LIVE;
  const body = JSON.parse(useSettled(JSON.stringify(asked.body), 500)) as object | null;
  const answer = useAnswer<Answer>("/v1/stability", live ? body : null);
  useApiCalls([
    { title: "The simulation", method: "POST", path: "/v1/stability", body: body ?? {} },
    { title: "The same as a job", method: "POST", path: "/v1/stability/studies", body: body ?? {} },
    {
      title: "The figure",
      method: "POST",
      path: "/v1/stability/figures/stability_curves.svg",
      body: body ?? {},
      saveAs: "stability.svg",
    },
  ]);
  const found = useKept(answer);
  const study = url.get("study");
  return (
    <div class="grid" style={{ gridTemplateColumns: "minmax(17rem, 22rem) minmax(0, 1fr)" }}>
      <RankingsForm
        fields={fields}
        wrong={asked.wrong}
        onChange={(changed) => setUrl({ ...changed, study: null })}
      />
      <div class="stack" style={{ alignContent: "start" }} aria-busy={answer.loading}>
        <ProblemNote problem={answer.problem} />
        {live ? null : <StartStudy body={body} onStarted={(id) => setUrl({ study: id }, "push")} />}
        {study ? <Study key={study} id={study} /> : null}
        {live && found ? <Settling answer={found} /> : null}
        {live && !found && answer.loading ? <p role="status">Simulating …</p> : null}
      </div>
    </div>
  );
}

interface FormProps {
  fields: Fields;
  wrong: Fields | null;
  onChange: (changed: Fields) => void;
}

function RankingsForm({ fields, wrong, onChange }: FormProps) {
  const shared = { fields, wrong, onChange };
  return (
    <form class="card stack" aria-label="Assumptions" onSubmit={(e) => e.preventDefault()}>
      <TextField
        {...shared}
        wide
        name="gaps"
        label="How far each model is behind the best"
        hint="True means, in units of the score, one per model; the best has 0."
      />
      <TextField
        {...shared}
        name="sd"
        label="Spread of differences"
        hint="Standard deviation, over subjects, of one model minus another."
      />
      <TextField {...shared} wide name="numbers" label="Numbers of subjects" />
      <Field
        label="Simulated studies"
        hint="400 answer in about half a second, 1,000 in a second or two; 4,000 run as a job for some seconds."
      >
        {(ids) => (
          <select {...ids} value={fields.sets} onChange={(e) => onChange({ sets: e.currentTarget.value })}>
            {["200", "400", "1000", "4000", "8000"].map((n) => (
              <option key={n} value={n}>
                {Number(n).toLocaleString("en")}
              </option>
            ))}
          </select>
        )}
      </Field>
      <details>
        <summary>More</summary>
        <div class="stack">
          <TextField {...shared} name="mean" label="Mean score of the best" />
          <TextField
            {...shared}
            name="spread"
            label="Spread of one model's score"
            hint="Standard deviation over subjects."
          />
          <TextField
            {...shared}
            name="failures"
            label="Share of failures"
            hint="How often a model fails on a subject and keeps only 20 to 60 % of its score."
          />
          <TextField {...shared} name="seed" label="Seed" />
        </div>
      </details>
    </form>
  );
}

function StartStudy({ body, onStarted }: { body: object | null; onStarted: (id: string) => void }) {
  const start = useAction(async () =>
    onStarted((await sendJson<{ id: string }>("POST", "/v1/stability/studies", body)).id),
  );
  return (
    <section class="card stack">
      <p>
        So many data sets run as a job; it goes on if you leave, and the address of this page finds it again.
      </p>
      <div>
        <Button look="primary" busy={start.running} disabled={body === null} onClick={() => void start.run()}>
          Run the simulation
        </Button>
      </div>
      <ProblemNote problem={start.problem} />
    </section>
  );
}

function Study({ id }: { id: string }) {
  const { job } = useJob(id);
  const again = (study: StatsShape<"StabilityStudy">) => (FINAL_STATES.includes(study.state) ? null : 1500);
  const study = useJson<StatsShape<"StabilityStudy">>(`/v1/stability/studies/${encodeURIComponent(id)}`, {
    again,
  });
  return (
    <>
      <ProblemNote problem={study.problem} />
      {job && !FINAL_STATES.includes(job.state) ? (
        <JobProgress progress={job.progress} label="Progress of the simulation" />
      ) : null}
      {study.data?.error ? (
        <Notice tone="bad" title="It failed">
          <p>{study.data.error.message}</p>
        </Notice>
      ) : null}
      {study.data?.answer ? <Settling answer={study.data.answer} /> : null}
    </>
  );
}

function Settling({ answer }: { answer: Answer }) {
  return (
    <>
      <section class="card stack" aria-label="The answer" aria-live="polite">
        <p style={{ fontSize: "1.25rem", lineHeight: 1.4, margin: 0 }} data-testid="stability-sentence">
          {answer.sentence}
        </p>
        <Warnings of={answer.warnings} />
      </section>
      <section class="card">
        <Curves points={answer.points} />
      </section>
    </>
  );
}

function Curves({ points }: { points: readonly Point[] }) {
  const options = useMemo<Plot.PlotOptions>(() => {
    const last = points[points.length - 1];
    const heights = apart(
      FIGURES.map(({ key }) => last?.[key]?.value ?? 0),
      0.06,
    );
    return {
      height: 340,
      marginRight: 215,
      marginBottom: 45,
      x: { type: "point", label: "Subjects", domain: points.map((p) => p.n) },
      y: { domain: [0, 1], label: "Probability", tickFormat: "%", grid: true },
      marks: FIGURES.flatMap(({ key, label, dash, color }, n) => [
        Plot.areaY(points, {
          x: "n",
          y1: (p: Point) => p[key]?.low,
          y2: (p: Point) => p[key]?.high,
          fill: color,
          fillOpacity: 0.12,
        }),
        Plot.lineY(points, {
          x: "n",
          y: (p: Point) => p[key]?.value,
          stroke: color,
          strokeWidth: 2,
          strokeDasharray: dash,
        }),
        Plot.text(last?.[key] ? [last] : [], {
          x: "n",
          y: () => heights[n],
          text: () => label,
          fill: color,
          dx: 8,
          textAnchor: "start",
        }),
      ]),
    };
  }, [points]);
  return (
    <Chart
      caption="How often, by number of subjects; the bands are the doubt of the simulation (95 %)."
      options={options}
      table={
        <Table
          caption="Probability by number of subjects"
          rows={points}
          keyOf={(row) => String(row.n)}
          columns={[
            { title: "Subjects", cell: (row: Point) => row.n },
            ...FIGURES.map(({ key, label }) => ({
              title: label,
              number: true,
              cell: (row: Point) => {
                const found = row[key];
                return found
                  ? `${formatPercent(found.value)} (${formatPercent(found.low)} to ${formatPercent(found.high)})`
                  : "not defined: models share it";
              },
            })),
          ]}
        />
      }
    />
  );
}
