import { useEffect } from "preact/hooks";
import { Link } from "wouter-preact";
import { useApiCalls } from "../../api/calls";
import { FINAL_STATES } from "../../api/events";
import { useJson } from "../../api/resource";
import type { ApiShape, Benchmark } from "../../api/types";
import { unitInWords } from "../../pure/board";
import { formatDuration, formatNumber } from "../../pure/format";
import { Field } from "../../ui/Field";
import { useLiveJob } from "../../ui/JobLog";
import { Empty, Loaded } from "../../ui/Loading";
import { Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import type { PageProps } from "../../ui/page_routes";
import { StateBadge } from "../../ui/StateBadge";
import { Table } from "../../ui/Table";
import { useParameters } from "../../ui/url";
import { modelsOf } from "./BenchmarksPage";
import { HistoryChart, ImportanceChart, ParallelChart } from "./SearchCharts";
import "./benchmarks.css";

export type Study = ApiShape<"StudyDetail">;
export type Trial = ApiShape<"TrialView">;

const QUIET_MS = 1200;

/** One search of a benchmark: its trials over time, which parameters mattered, and every trial. */
export default function SearchPage({ parameters }: PageProps) {
  const id = parameters.id ?? "";
  const path = `/v1/benchmarks/${encodeURIComponent(id)}`;
  const benchmark = useJson<Benchmark>(path);
  const studies = useJson<Study[]>(`${path}/studies`);
  const live = useLiveJob(benchmark.data?.job ?? null);
  const [query, set] = useParameters();
  const { reload } = studies;
  // biome-ignore lint/correctness/useExhaustiveDependencies: units that start or end change the trials
  useEffect(() => {
    const timer = setTimeout(reload, QUIET_MS);
    return () => clearTimeout(timer);
  }, [live.news, live.job?.state, reload]);
  useApiCalls([
    { title: "Every search with its trials", method: "GET", path: `${path}/studies` },
    {
      title: "All trainings as a table",
      method: "GET",
      path: `${path}/experiments.csv`,
      saveAs: "experiments.csv",
    },
  ]);
  const wanted = query.get("study") ?? "";
  const going = live.job !== null && !FINAL_STATES.includes(live.job.state);
  return (
    <>
      <PageHead
        title="Search"
        about={
          benchmark.data ? (
            <>
              of the benchmark <Link href={`/benchmarks/${id}`}>{modelsOf(benchmark.data)}</Link>
              {going ? ", which goes on" : ""}
            </>
          ) : null
        }
      />
      <Loaded of={studies} what="the searches">
        {(found) => {
          const shown = found.find((s) => s.study === wanted || s.study.startsWith(`${wanted}/`)) ?? found[0];
          return shown ? (
            <div class="stack">
              <StudyChoice studies={found} shown={shown} onChoose={(study) => set({ study }, "push")} />
              <StudyView study={shown} />
            </div>
          ) : (
            <Empty title="Nothing was searched">
              <p>This benchmark trained every contender with its default parameters (0 trials).</p>
            </Empty>
          );
        }}
      </Loaded>
    </>
  );
}

interface ChoiceProps {
  studies: readonly Study[];
  shown: Study;
  onChoose: (study: string) => void;
}

function StudyChoice({ studies, shown, onChoose }: ChoiceProps) {
  return (
    <Field
      label="Which search"
      hint="Each outer training set has a search of its own, so that its test subjects are never seen by it."
    >
      {(ids) => (
        <select {...ids} value={shown.study} onChange={(event) => onChoose(event.currentTarget.value)}>
          {studies.map((s) => (
            <option key={s.study} value={s.study}>
              {unitInWords(s.study)} ({s.trials.filter((t) => t.value !== null).length} of {s.trials.length}{" "}
              trials)
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

function StudyView({ study }: { study: Study }) {
  const best = study.trials.find((t) => t.number === study.best);
  return (
    <>
      {best?.value !== null && best?.value !== undefined ? (
        <Notice title={`Best so far: trial ${best.number}, inner score ${formatNumber(best.value)}`}>
          <p>
            Selection-biased: the best of {study.trials.filter((t) => t.value !== null).length} trials on the
            images that chose it. What it is worth on unseen subjects, the fold says.
          </p>
        </Notice>
      ) : null}
      <div class="board-charts">
        <HistoryChart study={study} />
        <ImportanceChart study={study} />
      </div>
      <ParallelChart study={study} />
      <Trials study={study} />
    </>
  );
}

function Trials({ study }: { study: Study }) {
  const names = [...new Set(study.trials.flatMap((t) => Object.keys(t.parameters)))];
  return (
    <Table
      caption="Every trial of this search"
      rows={study.trials}
      keyOf={(t) => String(t.number)}
      columns={[
        {
          title: "Trial",
          cell: (t) => (
            <>
              {t.number} {t.number === study.best ? <span class="badge good">✓ best</span> : null}
            </>
          ),
        },
        { title: "State", cell: (t) => <TrialState trial={t} /> },
        {
          title: "Inner score",
          number: true,
          cell: (t) => (t.value === null ? <span class="soft">{lastOf(t)}</span> : formatNumber(t.value)),
        },
        { title: "Took", cell: (t) => (t.seconds === null ? "" : formatDuration(t.seconds)) },
        ...names.map((name) => ({
          title: name.replaceAll("_", " "),
          number: true,
          cell: (t: Trial) => written(t.parameters[name]),
        })),
      ]}
    />
  );
}

function TrialState({ trial }: { trial: Trial }) {
  if (trial.pruned) return <span class="badge warn">! pruned</span>;
  if (trial.state === "over_budget") return <span class="badge">no time left</span>;
  return <StateBadge state={trial.state} />;
}

function lastOf(trial: Trial): string {
  const last = trial.curve.at(-1);
  return trial.pruned && last ? `stopped at ${formatNumber(last.value)}, step ${last.step}` : "not measured";
}

function written(value: number | string | undefined): string {
  if (value === undefined) return "";
  return typeof value === "number" ? formatNumber(value) : value;
}
