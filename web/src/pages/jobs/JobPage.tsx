import { useEffect } from "preact/hooks";
import { Link } from "wouter-preact";
import { useApiCalls } from "../../api/calls";
import { useJson } from "../../api/resource";
import type { ApiShape, Job } from "../../api/types";
import { byState, unitInWords } from "../../pure/board";
import { formatDuration, formatMoment } from "../../pure/format";
import { JobButtons, useJobActions } from "../../ui/JobButtons";
import { JobLog, useLiveJob } from "../../ui/JobLog";
import { Loaded } from "../../ui/Loading";
import { Notice, ProblemNote } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { JobProgress } from "../../ui/Progress";
import type { PageProps } from "../../ui/page_routes";
import { StateBadge } from "../../ui/StateBadge";
import { Table } from "../../ui/Table";

type Unit = ApiShape<"UnitView">;

const QUIET_MS = 1000;
const MOST_UNITS = 500;

/** One job, whatever it is of: state, units, log; stop it or take it up again. */
export default function JobPage({ parameters }: PageProps) {
  const id = parameters.id ?? "";
  const path = `/v1/jobs/${encodeURIComponent(id)}`;
  const first = useJson<Job>(path);
  const live = useLiveJob(first.data ? id : null);
  const units = useJson<Unit[]>(`${path}/units`);
  const job = live.job ?? first.data;
  const { reload } = units;
  // biome-ignore lint/correctness/useExhaustiveDependencies: units that start or end change the table
  useEffect(() => {
    const timer = setTimeout(reload, QUIET_MS);
    return () => clearTimeout(timer);
  }, [live.news, live.job?.state, reload]);
  const actions = useJobActions(path);
  useApiCalls([
    { title: "The job", method: "GET", path },
    { title: "Its events, live", method: "GET", path: `${path}/events` },
    { title: "Its units", method: "GET", path: `${path}/units` },
    { title: "Stop it", method: "POST", path: `${path}/cancel` },
    { title: "Do what failed again", method: "POST", path: `${path}/retry` },
  ]);
  const state = job?.state ?? "";
  return (
    <>
      <PageHead title={job ? `Job: ${job.kind}` : "Job"} about={<span class="mono small">{id}</span>}>
        {job ? <JobButtons state={state} actions={actions} /> : null}
      </PageHead>
      <Loaded of={first} what="the job">
        {(read) => (
          <div class="stack">
            <ProblemNote problem={live.problem ?? actions.problem} />
            <About job={job ?? read} units={units.data ?? []} />
            <Units units={units.data ?? []} />
            <section class="stack" style={{ gap: "0.35rem" }} aria-labelledby="log">
              <h2 id="log" style={{ margin: 0 }}>
                Log
              </h2>
              <JobLog lines={live.lines} />
            </section>
          </div>
        )}
      </Loaded>
    </>
  );
}

function About({ job, units }: { job: Job; units: readonly Unit[] }) {
  const target = pageOf(job);
  return (
    <section class="card stack" aria-label="State">
      <div class="row">
        <StateBadge state={job.state} />
        <span class="soft small">
          asked for {formatMoment(job.created_at)}, waited {formatDuration(job.queued_s)}
          {job.running_s ? `, ran ${formatDuration(job.running_s)}` : ""}
          {job.attempt > 1 ? `, attempt ${job.attempt}` : ""}
        </span>
        {target ? <Link href={target}>To its page</Link> : null}
      </div>
      <JobProgress progress={job.progress} label="Units of the job" />
      <span class="soft small">
        {byState(units)
          .map(([name, n]) => `${n} ${name}`)
          .join(", ")}
      </span>
      {job.error ? (
        <Notice tone="bad" title="It failed">
          <p>
            {job.error.unit ? `${unitInWords(job.error.unit)}: ` : ""}
            {job.error.message}
          </p>
        </Notice>
      ) : null}
    </section>
  );
}

/** The page of what a job makes, where there is one. */
function pageOf(job: Job): string | null {
  if (job.kind === "benchmark") return `/benchmarks/${job.id}`;
  const made = job.result?.match(/^\/v1\/segmentations\/([^/]+)$/);
  return made?.[1] ? `/segment?seg=${made[1]}` : null;
}

function Units({ units }: { units: readonly Unit[] }) {
  if (!units.length) return null;
  return (
    <details open={units.length <= 40}>
      <summary>{units.length} units</summary>
      <Table
        caption="Units"
        captionHidden
        rows={units.slice(0, MOST_UNITS)}
        keyOf={(u) => u.key}
        columns={[
          { title: "Unit", cell: (u) => unitInWords(u.key) },
          { title: "Kind", cell: (u) => u.kind },
          { title: "State", cell: (u) => <StateBadge state={u.state} /> },
          { title: "Attempt", number: true, cell: (u) => String(u.attempt) },
          { title: "Took", cell: (u) => (u.seconds === null ? "" : formatDuration(u.seconds)) },
          { title: "What it says", cell: (u) => u.error ?? (u.state === "running" ? u.message : "") },
        ]}
      />
    </details>
  );
}
