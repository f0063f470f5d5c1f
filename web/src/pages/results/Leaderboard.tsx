import * as Plot from "@observablehq/plot";
import { useMemo } from "preact/hooks";
import { getText, sendJson } from "../../api/client";
import { useResource } from "../../api/resource";
import type { Benchmark, Ranking, StatsShape } from "../../api/types";
import { Chart } from "../../charts/Chart";
import { formatNumber, formatPercent } from "../../pure/format";
import { betterWhen, metricOf, scoreLabel } from "../../pure/metrics";
import { meanBySubject, type Scores, scoresByModel } from "../../pure/scores";
import { Loaded } from "../../ui/Loading";
import { ProblemNote } from "../../ui/Notice";
import { Quantity } from "../../ui/Quantity";
import { Table } from "../../ui/Table";
import type { Question } from "./question";

type Intervals = Map<string, StatsShape<"IntervalAnswer">>;

/** Read every score once; a question takes its own from them, and asks for the interval of each mean. */
function useScores(question: Question) {
  const { benchmark, protocol, metric } = question;
  const csv = useResource(`scores ${benchmark}`, (signal) =>
    getText(`/v1/benchmarks/${encodeURIComponent(benchmark)}/scores.csv`, signal),
  );
  const scores = useMemo(
    () => (csv.data === null ? null : scoresByModel(csv.data, { protocol, metric, class: question.class })),
    [csv.data, protocol, metric, question.class],
  );
  const ask = async (signal: AbortSignal): Promise<Intervals> => {
    const asked = [...(scores ?? [])].map(async ([model, found]) => {
      const body = { scores: found.scores, subjects: found.subjects, method: "t" };
      const answer = await sendJson<StatsShape<"IntervalAnswer">>("POST", "/v1/intervals", body, { signal });
      return [model, answer] as const;
    });
    return new Map(await Promise.all(asked));
  };
  const key = scores ? `intervals ${benchmark} ${protocol} ${metric} ${question.class}` : null;
  return { csv, scores, intervals: useResource(key, ask) };
}

export interface LeaderboardProps {
  benchmark: Benchmark;
  question: Question;
  ranking: Ranking | null;
}

/** The models in tiers, and the score of every subject under each. */
export function Leaderboard({ benchmark, question, ranking }: LeaderboardProps) {
  const { csv, scores, intervals } = useScores(question);
  const order = ranking?.models.map((m) => m.model) ?? [];
  return (
    <div class="stack">
      {ranking ? (
        <>
          <p>
            Models in one tier are not shown to differ from its first; their order within a tier is no rank.{" "}
            {scoreLabel(question.metric, question.class)}: {betterWhen(question.metric)}.
          </p>
          <Tiers question={question} ranking={ranking} intervals={intervals.data} />
        </>
      ) : (
        <Means benchmark={benchmark} protocol={question.protocol} />
      )}
      <ProblemNote problem={intervals.problem} onRetry={intervals.reload} />
      <Loaded of={csv} what="the scores">
        {() => (scores ? <Subjects question={question} order={order} scores={scores} /> : null)}
      </Loaded>
    </div>
  );
}

/** Where nothing can be ranked: the means there are. */
function Means({ benchmark, protocol }: { benchmark: Benchmark; protocol: string }) {
  return (
    <Table
      caption="Means without a ranking; in brackets the 95 % interval over subjects"
      rows={benchmark.leaderboard.filter((entry) => entry.protocol === protocol)}
      keyOf={(row) => row.model}
      columns={[
        { title: "Model", cell: (row) => row.model },
        {
          title: "Dice, mean over classes",
          number: true,
          cell: (row) => <Quantity value={row.mean} unit="" interval={row.ci95 as [number, number] | null} />,
        },
        { title: "Subjects", number: true, cell: (row) => row.n_subjects },
      ]}
    />
  );
}

interface Row {
  model: StatsShape<"RankedModel">;
  tier: number;
}

function Tiers({
  question,
  ranking,
  intervals,
}: {
  question: Question;
  ranking: Ranking;
  intervals: Intervals | null;
}) {
  const tierOf = (model: string) => ranking.tiers.findIndex((tier) => tier.includes(model)) + 1;
  const rows: Row[] = ranking.models.map((model) => ({ model, tier: tierOf(model.model) }));
  const { unit } = metricOf(question.metric);
  const limits = (model: string) => {
    const found = intervals?.get(model);
    return found && found.low !== null && found.high !== null ? ([found.low, found.high] as const) : null;
  };
  const costs = new Map(ranking.choice?.models.map((m) => [m.model, m.cost]) ?? []);
  return (
    <Table
      caption={`Leaderboard by ${scoreLabel(question.metric, question.class)}; in brackets the 95 % interval over ${ranking.n_units} subjects, taken as independent`}
      keyOf={(row) => row.model.model}
      rows={rows}
      columns={[
        { title: "Model", cell: (row) => row.model.model },
        { title: "Tier", cell: (row) => <span class="badge">Tier {row.tier}</span> },
        {
          title: "Mean",
          number: true,
          cell: (row) => <Quantity value={row.model.mean} unit={unit} interval={limits(row.model.model)} />,
        },
        {
          title: "First in … of resamples",
          cell: (row) => <Share of={row.model.p_best} />,
        },
        {
          title: "Rank if one subject is left out",
          number: true,
          cell: (row) => rankRange(row.model.leave_one_out_ranks as [number, number]),
        },
        ...(costs.size
          ? [
              {
                title: "Work per tile",
                number: true,
                cell: (row: Row) => {
                  const cost = costs.get(row.model.model);
                  return cost ? `${formatNumber(cost / 1e9)}\u202fGFLOP` : "not measured";
                },
              },
            ]
          : []),
      ]}
    />
  );
}

/** A share as a bar with its number. */
export function Share({ of }: { of: number }) {
  return (
    <span class="row" style={{ flexWrap: "nowrap", gap: "0.5rem" }}>
      <span
        aria-hidden="true"
        style={{
          width: "6rem",
          height: "0.6rem",
          background: "var(--sunken)",
          border: "1px solid var(--line)",
        }}
      >
        <span
          style={{ display: "block", height: "100%", width: `${100 * of}%`, background: "var(--series-1)" }}
        />
      </span>
      {formatPercent(of)}
    </span>
  );
}

function rankRange([lowest, highest]: [number, number]): string {
  return lowest === highest ? formatNumber(lowest) : `${formatNumber(lowest)} to ${formatNumber(highest)}`;
}

interface SubjectsProps {
  question: Question;
  /** Models as they are ranked; others follow. */
  order: readonly string[];
  scores: Map<string, Scores>;
}

function Subjects({ question, order, scores }: SubjectsProps) {
  const listed = [...order, ...[...scores.keys()].filter((name) => !order.includes(name))].join("\n");
  const models = useMemo(() => listed.split("\n"), [listed]);
  const rows = useMemo(
    () => [...scores].flatMap(([model, found]) => meanBySubject(found).map((mean) => ({ model, ...mean }))),
    [scores],
  );
  const label = scoreLabel(question.metric, question.class);
  const { unit } = metricOf(question.metric);
  const options = useMemo<Plot.PlotOptions>(
    () => ({
      height: 100 + 34 * models.length,
      marginBottom: 45,
      marginLeft: 130,
      x: { label: `${label}${unit ? ` (${unit})` : ""}`, grid: true, nice: true },
      y: { label: null, type: "band", padding: 0.3, domain: models },
      marks: [
        Plot.line(rows, {
          x: "score",
          y: "model",
          z: "subject",
          stroke: "currentColor",
          strokeOpacity: 0.25,
        }),
        Plot.dot(rows, {
          x: "score",
          y: "model",
          r: 4.5,
          fill: "var(--series-1)",
          fillOpacity: 0.7,
          title: (d) => `${d.subject}: ${formatNumber(d.score)}`,
        }),
        Plot.tickX(
          rows,
          Plot.groupY({ x: "mean" }, { x: "score", y: "model", stroke: "var(--series-2)", strokeWidth: 3 }),
        ),
      ],
    }),
    [rows, label, unit, models],
  );
  if (rows.length === 0) return <p>No subject has this score.</p>;
  const subjects = [...new Set(rows.map((r) => r.subject))].sort();
  const at = new Map(rows.map((r) => [`${r.subject} ${r.model}`, r.score]));
  return (
    <section class="card">
      <h2>Every subject</h2>
      <Chart
        caption="Each dot is one subject (sections averaged), each thin line joins the same subject; the bar is the mean."
        options={options}
        table={
          <Table
            caption={`${label} of every subject`}
            rows={subjects}
            keyOf={(subject) => subject}
            columns={[
              { title: "Subject", cell: (subject: string) => subject },
              ...models.map((model) => ({
                title: model,
                number: true,
                cell: (subject: string) => {
                  const score = at.get(`${subject} ${model}`);
                  return <Quantity value={score} unit={unit} />;
                },
              })),
            ]}
          />
        }
      />
    </section>
  );
}
