import { Link } from "wouter-preact";
import { useApiCalls } from "../../api/calls";
import { getAll } from "../../api/client";
import { FINAL_STATES } from "../../api/events";
import { useResource } from "../../api/resource";
import type { Benchmark, Dataset } from "../../api/types";
import { formatDuration, formatMoment } from "../../pure/format";
import { ButtonLink } from "../../ui/Button";
import { Empty, Loaded } from "../../ui/Loading";
import { PageHead } from "../../ui/PageHead";
import { StateBadge } from "../../ui/StateBadge";
import { Table } from "../../ui/Table";

const AGAIN_MS = 5000;
const MOST = 200;

/** All benchmarks, newest first. */
export default function BenchmarksPage() {
  const found = useResource(
    "benchmarks",
    async (signal) => ({
      benchmarks: await getAll<Benchmark>("/v1/benchmarks", signal, MOST),
      datasets: await getAll<Dataset>("/v1/datasets", signal),
    }),
    {
      again: (data) => (data.benchmarks.some((b) => !FINAL_STATES.includes(b.state)) ? AGAIN_MS : null),
    },
  );
  useApiCalls([{ title: "The benchmarks", method: "GET", path: "/v1/benchmarks" }]);
  return (
    <>
      <PageHead
        title="Benchmarks"
        about="Which model segments these images best, and does the difference matter?"
      >
        <ButtonLink look="primary" href="/benchmarks/new">
          New benchmark
        </ButtonLink>
      </PageHead>
      <Loaded of={found} what="the benchmarks">
        {({ benchmarks, datasets }) =>
          benchmarks.length ? (
            <Table
              caption="Benchmarks, newest first"
              captionHidden
              rows={benchmarks}
              keyOf={(b) => b.id}
              columns={[
                {
                  title: "Benchmark",
                  cell: (b) => <Link href={`/benchmarks/${b.id}`}>{modelsOf(b)}</Link>,
                },
                {
                  title: "Data set",
                  cell: (b) => (
                    <Link href={`/datasets/${b.dataset}`}>
                      {datasets.find((d) => d.id === b.dataset)?.name ?? b.dataset}
                    </Link>
                  ),
                },
                { title: "Preset", cell: (b) => b.spec.preset },
                { title: "State", cell: (b) => <StateBadge state={b.state} /> },
                {
                  title: "Units done",
                  number: true,
                  cell: (b) => `${b.progress.done} of ${b.progress.total}`,
                },
                { title: "Next", cell: (b) => <Next benchmark={b} /> },
                { title: "Submitted", cell: (b) => formatMoment(b.created_at) },
              ]}
            />
          ) : (
            <Empty title="No benchmark yet">
              <p>A benchmark trains several architectures on the same folds of one data set.</p>
              <ButtonLink look="primary" href="/benchmarks/new">
                Set one up
              </ButtonLink>
            </Empty>
          )
        }
      </Loaded>
    </>
  );
}

function Next({ benchmark }: { benchmark: Benchmark }) {
  if (benchmark.leaderboard.length) return <Link href={`/benchmarks/${benchmark.id}/results`}>Results</Link>;
  const eta = benchmark.progress.eta_s;
  if (benchmark.state === "running") return <>{eta ? `about ${formatDuration(eta)} left` : "started"}</>;
  return <span class="soft">{benchmark.error?.message ?? ""}</span>;
}

/** The contenders of a benchmark in a line. */
export function modelsOf(benchmark: Benchmark): string {
  const names = benchmark.spec.architectures.map((a) => a.label ?? a.name);
  return names.length > 4 ? `${names.slice(0, 4).join(", ")} and ${names.length - 4} more` : names.join(", ");
}
