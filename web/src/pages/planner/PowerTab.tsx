import * as Plot from "@observablehq/plot";
import { useCallback, useMemo } from "preact/hooks";
import { useAnswer, useKept } from "../../api/answer";
import { useApiCalls } from "../../api/calls";
import { sendForBlob } from "../../api/client";
import { useResource } from "../../api/resource";
import type { StatsShape } from "../../api/types";
import { Chart } from "../../charts/Chart";
import { formatNumber, formatPercent } from "../../pure/format";
import { Field } from "../../ui/Field";
import { ProblemNote } from "../../ui/Notice";
import { useSettled } from "../../ui/settled";
import { Table } from "../../ui/Table";
import { useParameters } from "../../ui/url";
import { Warnings } from "../../ui/Warnings";
import {
  type Asked,
  type Fields,
  fieldsOf,
  POWER_DEFAULTS,
  type PowerPoint,
  powerBody,
  powerPoints,
} from "./request";
import { TextField } from "./TextField";

const CURVES = "/v1/power/figures/power_curves.csv";

function useCurves(body: object | null) {
  const written = body === null ? null : JSON.stringify(body);
  const read = useCallback(
    async (signal: AbortSignal) =>
      powerPoints(await (await sendForBlob(CURVES, JSON.parse(written ?? "{}"), { signal })).text()),
    [written],
  );
  return useResource(written, read);
}

/** What n subjects can show about two models, while one types. */
export function PowerTab() {
  const [url, setUrl] = useParameters();
  const fields = fieldsOf(url, POWER_DEFAULTS);
  const asked = powerBody(fields);
  const settled = useSettled(JSON.stringify(asked.body));
  const body = JSON.parse(settled) as object | null;
  const answer = useAnswer<StatsShape<"PowerAnswer">>("/v1/power", body);
  const curves = useCurves(body);
  useApiCalls([
    { title: "What this number of subjects can show", method: "POST", path: "/v1/power", body: body ?? {} },
    {
      title: "The numbers of the curves",
      method: "POST",
      path: CURVES,
      body: body ?? {},
      saveAs: "power.csv",
    },
    {
      title: "The figure",
      method: "POST",
      path: "/v1/power/figures/power_curves.svg",
      body: body ?? {},
      saveAs: "power.svg",
    },
  ]);
  const found = useKept(answer);
  const points = useKept(curves);
  return (
    <div class="grid" style={{ gridTemplateColumns: "minmax(17rem, 22rem) minmax(0, 1fr)" }}>
      <PowerForm fields={fields} asked={asked} onChange={(changed) => setUrl(changed)} />
      <div class="stack" style={{ alignContent: "start" }} aria-busy={answer.loading}>
        <ProblemNote problem={answer.problem} />
        {found ? <PowerAnswer answer={found} /> : null}
        {points && found ? <Curves points={points} n={found.n} wanted={Number(fields.power) || 0.8} /> : null}
      </div>
    </div>
  );
}

interface FormProps {
  fields: Fields;
  asked: Asked;
  onChange: (changed: Fields) => void;
}

function PowerForm({ fields, asked, onChange }: FormProps) {
  const shared = { fields, wrong: asked.wrong, onChange };
  return (
    <form class="card stack" aria-label="Assumptions" onSubmit={(e) => e.preventDefault()}>
      <TextField
        {...shared}
        name="sd"
        label="Spread of the difference"
        hint="Standard deviation, over subjects, of model a minus model b. A comparison of a pilot shows it; Dice of two good models: about 0.03."
      />
      <TextField
        {...shared}
        name="margin"
        label="Margin"
        hint="The largest difference that does not matter."
      />
      <TextField {...shared} name="n" label="Subjects" hint="Animals or patients, not sections." />
      <TextField
        {...shared}
        name="diff"
        label="True difference"
        hint="Assumed for equivalence; 0: the two are equal."
      />
      <details>
        <summary>More</summary>
        <div class="stack">
          <Field label="How scores are made" hint="Folds share training subjects, which costs power.">
            {(ids) => (
              <select
                {...ids}
                value={fields.protocol}
                onChange={(e) => onChange({ protocol: e.currentTarget.value })}
              >
                <option value="">trained once, tested on new subjects</option>
                <option value="loocv">leave one subject out</option>
                <option value="kfold3">3-fold cross-validation</option>
                <option value="kfold5">5-fold cross-validation</option>
              </select>
            )}
          </Field>
          <TextField
            {...shared}
            name="pilot"
            label="Subjects of the pilot"
            hint="Behind the spread; few subjects know it badly, and the answer says how badly."
          />
          <TextField {...shared} name="detect" label="Difference to find" hint="Empty: the margin." />
          <TextField {...shared} name="power" label="Wanted probability" />
          <TextField {...shared} name="alpha" label="Alpha" />
        </div>
      </details>
    </form>
  );
}

function PowerAnswer({ answer }: { answer: StatsShape<"PowerAnswer"> }) {
  const subjects = (n: number | null) => (n === null ? "more than a million" : formatNumber(n, 7));
  const range = answer.sd_range as [number, number] | null;
  const rows: [string, string][] = [
    ["Equivalence is confirmed with probability", formatPercent(answer.power_equivalence)],
    ["A difference of that size is found with probability", formatPercent(answer.power_difference)],
    ["Subjects for equivalence", subjects(answer.units_for_equivalence)],
    ["Subjects for the difference", subjects(answer.units_for_difference)],
    ["Smallest margin these subjects can confirm", `±${formatNumber(answer.smallest_margin)}`],
    ["Smallest difference these subjects can find", formatNumber(answer.smallest_difference)],
    [
      "A failure not seen in them may still happen",
      `in up to ${formatPercent(answer.failure_rate_upper_bound)} of subjects`,
    ],
  ];
  if (range)
    rows.push(["The spread itself, 95 % interval", `${formatNumber(range[0])} to ${formatNumber(range[1])}`]);
  if (answer.standard_error_factor !== 1)
    rows.push(["Errors grow by shared training data", `${formatNumber(answer.standard_error_factor)} times`]);
  return (
    <section class="card stack" aria-label="The answer" aria-live="polite">
      <p style={{ fontSize: "1.25rem", lineHeight: 1.4, margin: 0 }} data-testid="power-sentence">
        {answer.sentence}
      </p>
      <Warnings of={answer.warnings} />
      <Table
        caption={`By ${answer.method}`}
        captionHidden
        rows={rows}
        keyOf={([name]) => name}
        columns={[
          {
            title: `With ${answer.n} subjects`,
            cell: ([name]) => <span style={{ fontWeight: 400 }}>{name}</span>,
          },
          { title: "Value", cell: ([, value]) => value },
        ]}
      />
    </section>
  );
}

const TICKS = [2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

function Curves({ points, n, wanted }: { points: PowerPoint[]; n: number; wanted: number }) {
  const options = useMemo<Plot.PlotOptions>(() => {
    const last = points[points.length - 1]?.subjects ?? 2;
    const ends = points.slice(-1);
    return {
      height: 320,
      marginRight: 95,
      x: {
        type: "log",
        label: "Subjects",
        ticks: TICKS.filter((t) => t <= last),
        tickFormat: (d: number) => String(d),
      },
      y: { domain: [0, 1], label: "Probability", tickFormat: "%", grid: true },
      marks: [
        Plot.ruleY([wanted], { stroke: "currentColor", strokeDasharray: "2,4" }),
        Plot.ruleX([n], { stroke: "currentColor", strokeOpacity: 0.5 }),
        Plot.lineY(points, { x: "subjects", y: "equivalence", stroke: "var(--series-1)", strokeWidth: 2.5 }),
        Plot.lineY(points, {
          x: "subjects",
          y: "difference",
          stroke: "var(--series-2)",
          strokeWidth: 2.5,
          strokeDasharray: "6,4",
        }),
        Plot.text(ends, {
          x: "subjects",
          y: "equivalence",
          text: () => "equivalence",
          dx: 6,
          dy: -7,
          textAnchor: "start",
        }),
        Plot.text(ends, {
          x: "subjects",
          y: "difference",
          text: () => "difference",
          dx: 6,
          dy: 7,
          textAnchor: "start",
        }),
      ],
    };
  }, [points, n, wanted]);
  return (
    <section class="card">
      <Chart
        caption={`Solid: equivalence is confirmed. Dashed: the difference is found. Dotted: the wanted ${formatPercent(wanted)}; upright: ${n} subjects.`}
        options={options}
        table={
          <Table
            caption="Probability by number of subjects"
            rows={points}
            keyOf={(row) => String(row.subjects)}
            columns={[
              { title: "Subjects", cell: (row) => formatNumber(row.subjects, 7) },
              { title: "Equivalence", number: true, cell: (row) => formatPercent(row.equivalence) },
              { title: "Difference", number: true, cell: (row) => formatPercent(row.difference) },
            ]}
          />
        }
      />
    </section>
  );
}
