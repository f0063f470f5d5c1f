import { useEffect } from "preact/hooks";
import { Link } from "wouter-preact";
import { useApiCalls } from "../../api/calls";
import { getAll } from "../../api/client";
import { FINAL_STATES } from "../../api/events";
import { useJson, useResource } from "../../api/resource";
import type { ApiShape, Benchmark, Dataset, Job } from "../../api/types";
import { byState, messageInWords } from "../../pure/board";
import { formatDuration } from "../../pure/format";
import { announce } from "../../ui/announce";
import { ButtonLink } from "../../ui/Button";
import { JobButtons, useJobActions } from "../../ui/JobButtons";
import { JobLog, type LiveJob, useLiveJob } from "../../ui/JobLog";
import { Loaded } from "../../ui/Loading";
import { Notice, ProblemNote } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { JobProgress } from "../../ui/Progress";
import type { PageProps } from "../../ui/page_routes";
import { StateBadge } from "../../ui/StateBadge";
import { modelsOf } from "./BenchmarksPage";
import { Contenders } from "./Contenders";
import { Curves } from "./Curves";
import { Failures } from "./Failures";
import { Folds } from "./Folds";
import { RunningUnits, Workers } from "./Workers";
import "./benchmarks.css";

export type Training = ApiShape<"ExperimentRow">;
export type Unit = ApiShape<"UnitView">;

const RUNNING_MS = 2500;
const QUIET_MS = 1200;
const MOST_ROWS = 5000;

/** The live board of one benchmark. */
export default function BoardPage({ parameters }: PageProps) {
  const id = parameters.id ?? "";
  const path = `/v1/benchmarks/${encodeURIComponent(id)}`;
  const benchmark = useJson<Benchmark>(path);
  const live = useLiveJob(benchmark.data?.job ?? null);
  const job = `/v1/jobs/${encodeURIComponent(benchmark.data?.job ?? "")}`;
  const going = live.job !== null && !FINAL_STATES.includes(live.job.state);
  const units = useJson<Unit[]>(benchmark.data ? `${job}/units` : null);
  const trainings = useResource(`${path} trainings`, (signal) =>
    getAll<Training>(`${path}/experiments`, signal, MOST_ROWS),
  );
  const running = useResource(
    going ? `${path} running` : null,
    (signal) => getAll<Training>(`${path}/experiments?state=running`, signal),
    { again: () => RUNNING_MS },
  );
  useReadAgain(live, [benchmark.reload, units.reload, trainings.reload]);
  useApiCalls([
    { title: "The benchmark", method: "GET", path },
    { title: "Its events, live", method: "GET", path: `${job}/events` },
    {
      title: "Trainings that run, with their curves",
      method: "GET",
      path: `${path}/experiments?state=running`,
    },
    { title: "Who works on what", method: "GET", path: "/v1/workers" },
    { title: "Stop it", method: "POST", path: `${job}/cancel` },
    { title: "Take it up again: what is done stays done", method: "POST", path: `${job}/retry` },
  ]);
  return (
    <Loaded of={benchmark} what="the benchmark">
      {(shown) => (
        <>
          <Head benchmark={shown} job={live.job} path={job} />
          <div class="stack">
            <ProblemNote problem={live.problem} />
            <State benchmark={shown} job={live.job} units={units.data ?? []} />
            <Failures benchmark={shown} units={units.data ?? []} />
            <Contenders
              benchmark={shown}
              units={units.data ?? []}
              trainings={trainings.data ?? []}
              going={going}
            />
            <Curves rows={withRunning(trainings.data ?? [], running.data ?? [])} benchmark={shown} />
            {going ? <RunningUnits job={shown.job} /> : null}
            {going ? <Workers /> : null}
            <Folds benchmark={shown} />
            <details class="card" open={going}>
              <summary>Log</summary>
              <div style={{ marginTop: "0.6rem" }}>
                <JobLog lines={live.lines} />
              </div>
            </details>
          </div>
        </>
      )}
    </Loaded>
  );
}

/** Units that started or ended change everything else; many at once are one change. */
function useReadAgain(live: LiveJob, reloads: readonly (() => void)[]): void {
  const state = live.job?.state ?? "";
  const { news } = live;
  // biome-ignore lint/correctness/useExhaustiveDependencies: the functions are the same all along
  useEffect(() => {
    if (!news && !state) return;
    const timer = setTimeout(() => {
      for (const reload of reloads) reload();
    }, QUIET_MS);
    return () => clearTimeout(timer);
  }, [news, state]);
  useEffect(() => {
    if (FINAL_STATES.includes(state)) announce(`The benchmark has ${state}.`);
  }, [state]);
}

function withRunning(all: readonly Training[], running: readonly Training[]): Training[] {
  const newer = new Map(running.map((r) => [r.unit, r]));
  return all.map((r) => (r.state === "done" ? r : (newer.get(r.unit) ?? r)));
}

function Head({ benchmark, job, path }: { benchmark: Benchmark; job: Job | null; path: string }) {
  const dataset = useJson<Dataset>(`/v1/datasets/${encodeURIComponent(benchmark.dataset)}`);
  const actions = useJobActions(path);
  const state = job?.state ?? benchmark.state;
  return (
    <>
      <PageHead
        title={modelsOf(benchmark)}
        about={
          <>
            Benchmark on{" "}
            <Link href={`/datasets/${benchmark.dataset}`}>{dataset.data?.name ?? "a data set"}</Link>, preset{" "}
            {benchmark.spec.preset}, {benchmark.spec.search.sampler} search
          </>
        }
      >
        <ButtonLink href={`/benchmarks/${benchmark.id}/search`}>Search</ButtonLink>
        {benchmark.leaderboard.length ? (
          <ButtonLink look="primary" href={`/benchmarks/${benchmark.id}/results`}>
            Results
          </ButtonLink>
        ) : null}
        <JobButtons state={state} actions={actions} incomplete={benchmark.incomplete.length > 0} />
      </PageHead>
      <ProblemNote problem={actions.problem} />
    </>
  );
}

function State({ benchmark, job, units }: { benchmark: Benchmark; job: Job | null; units: readonly Unit[] }) {
  const state = job?.state ?? benchmark.state;
  const final = FINAL_STATES.includes(state);
  const progress = job?.progress ?? benchmark.progress;
  return (
    <section class="card stack" aria-label="State">
      <div class="row">
        <StateBadge state={state} />
        {job?.running_s ? (
          <span>
            {final ? "took " : ""}
            {formatDuration(job.running_s)}
            {final ? "" : " so far"}
          </span>
        ) : null}
        <span class="soft small">
          {byState(units)
            .map(([name, n]) => `${n} ${name}`)
            .join(", ")}
        </span>
      </div>
      <JobProgress
        progress={{ ...progress, message: final ? "" : messageInWords(progress.message ?? "") }}
        label="Units of the benchmark"
      />
      {benchmark.leakage ? (
        <Notice tone="warn" title="The leakage guard was overridden">
          <p>{benchmark.leakage.reason}</p>
          <ul>
            {benchmark.leakage.found.map((found) => (
              <li key={found}>{found}</li>
            ))}
          </ul>
        </Notice>
      ) : null}
      {state === "queued" && !job?.progress.message ? (
        <p class="soft">It waits for a worker. Segmentations that somebody waits for go first.</p>
      ) : null}
    </section>
  );
}
