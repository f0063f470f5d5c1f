import { useJson } from "../../api/resource";
import type { ApiShape } from "../../api/types";
import { unitInWords, workerName } from "../../pure/board";
import { count, formatDuration, formatPercent } from "../../pure/format";
import { Loaded } from "../../ui/Loading";
import { Table } from "../../ui/Table";

type Report = ApiShape<"WorkerReport">;

const AGAIN_MS = 3000;

function useWorkers() {
  return useJson<Report>("/v1/workers", { again: () => AGAIN_MS });
}

/** What of a job runs now, and how far it is. */
export function RunningUnits({ job }: { job: string }) {
  const workers = useWorkers();
  const running = (workers.data?.workers ?? []).flatMap((w) => w.running.filter((u) => u.job === job));
  return (
    <section class="stack" style={{ gap: "0.35rem" }} aria-labelledby="running">
      <h2 id="running" style={{ margin: 0 }}>
        Running now
      </h2>
      {running.length ? (
        <Table
          caption="Running now"
          captionHidden
          rows={running}
          keyOf={(u) => u.key}
          columns={[
            { title: "Training", cell: (u) => unitInWords(u.key) },
            {
              title: "How far",
              cell: (u) => (
                <span class="stage small">
                  <progress
                    max={1}
                    value={u.fraction}
                    aria-label={unitInWords(u.key)}
                    aria-valuetext={formatPercent(u.fraction)}
                  />
                  {formatPercent(u.fraction)}
                </span>
              ),
            },
            { title: "Message", cell: (u) => u.message },
            { title: "Since", cell: (u) => formatDuration(u.seconds) },
            { title: "Attempt", number: true, cell: (u) => String(u.attempt) },
          ]}
        />
      ) : (
        <p class="soft">Nothing of this benchmark runs just now.</p>
      )}
    </section>
  );
}

/** Whether the workers are well: when each was last heard, and what waits. */
export function Workers() {
  const workers = useWorkers();
  return (
    <section class="stack" style={{ gap: "0.35rem" }} aria-labelledby="workers">
      <h2 id="workers" style={{ margin: 0 }}>
        Workers
      </h2>
      <Loaded of={workers} what="the workers">
        {(report) => (
          <>
            <ul class="stack" style={{ listStyle: "none", margin: 0, padding: 0, gap: "0.25rem" }}>
              {report.workers.map((w) => (
                <li key={w.owner} class="row">
                  {w.late ? (
                    <span class="badge bad">✕ silent for too long</span>
                  ) : (
                    <span class="badge good">✓ alive</span>
                  )}
                  <span title={w.owner}>{workerName(w.owner)}</span>
                  <span class="soft small">
                    {w.silent_s === null ? "" : `last heard ${formatDuration(w.silent_s)} ago, `}
                    {count(w.running.length, "unit")}
                    {w.late ? "; its units go to another worker at the next sweep" : ""}
                  </span>
                </li>
              ))}
            </ul>
            {report.workers.length ? null : (
              <p class="soft">
                No worker holds a unit. If that stays so while units are ready, none is running.
              </p>
            )}
            <p class="small soft">
              {report.queues
                .map(
                  (q) =>
                    `Queue ${q.queue}: ${q.ready} ready${
                      q.oldest_ready_s === null ? "" : ` (the oldest for ${formatDuration(q.oldest_ready_s)})`
                    }, ${q.running} running, ${q.waiting} behind others`,
                )
                .join(". ")}
              .
            </p>
          </>
        )}
      </Loaded>
    </section>
  );
}
