import { Link } from "wouter-preact";
import { post } from "../../api/client";
import { FINAL_STATES, useJob } from "../../api/events";
import { useAction, useJson } from "../../api/resource";
import type { ApiShape, Job, Segmentation } from "../../api/types";
import { count, formatDuration, formatPercent } from "../../pure/format";
import { Button, ButtonLink } from "../../ui/Button";
import { Loaded } from "../../ui/Loading";
import { Notice, ProblemNote } from "../../ui/Notice";
import { JobProgress } from "../../ui/Progress";
import { StateBadge } from "../../ui/StateBadge";
import { Table } from "../../ui/Table";

const AGAIN_MS = 1500;

/** One slide's segmentation: live progress, cancel, retry, and where to look at it. */
export function SlideRun({ id }: { id: string }) {
  const segmentation = useJson<Segmentation>(`/v1/segmentations/${encodeURIComponent(id)}`);
  const live = useJob(segmentation.data?.job ?? null);
  const job = live.job;
  const path = `/v1/jobs/${encodeURIComponent(segmentation.data?.job ?? "")}`;
  const cancel = useAction(() => post<Job>(`${path}/cancel`));
  const retry = useAction(() => post<Job>(`${path}/retry`).then(segmentation.reload));
  return (
    <section class="card stack" aria-label="Progress">
      <Loaded of={segmentation} what="the segmentation">
        {(shown) => (
          <>
            <div class="row">
              <h2 style={{ margin: 0 }}>{shown.model}</h2>
              <StateBadge state={job?.state ?? shown.state} />
              {job ? <Times job={job} /> : null}
            </div>
            {job && !FINAL_STATES.includes(job.state) ? (
              <JobProgress progress={job.progress} label="Segmentation" />
            ) : null}
            {job?.error ? (
              <Notice tone="bad" title="It failed">
                <p>{job.error.message}</p>
              </Notice>
            ) : null}
            <ProblemNote problem={live.problem ?? cancel.problem ?? retry.problem} />
            <div class="row">
              {(job?.state ?? shown.state) === "succeeded" ? (
                <ButtonLink look="primary" href={`/slides/${shown.slide}?seg=${shown.id}`}>
                  Look at the mask
                </ButtonLink>
              ) : null}
              {job && !FINAL_STATES.includes(job.state) ? (
                <Button look="danger" busy={cancel.running} onClick={() => void cancel.run()}>
                  Cancel
                </Button>
              ) : null}
              {job && ["failed", "canceled"].includes(job.state) ? (
                <Button busy={retry.running} onClick={() => void retry.run()}>
                  Try again
                </Button>
              ) : null}
            </div>
          </>
        )}
      </Loaded>
    </section>
  );
}

function Times({ job }: { job: Job }) {
  return (
    <span class="soft small">
      waited {formatDuration(job.queued_s)}
      {job.running_s ? `, ran ${formatDuration(job.running_s)}` : ""}
      {job.attempt > 1 ? `, attempt ${job.attempt}` : ""}
    </span>
  );
}

const ENDED = ["succeeded", "incomplete", "failed", "canceled"];

/** Many slides: where each is, cancel what is left, do the failures again. */
export function BatchRun({ id }: { id: string }) {
  const path = `/v1/batches/${encodeURIComponent(id)}`;
  const batch = useJson<ApiShape<"BatchView">>(path, {
    again: (b) => (ENDED.includes(b.state) ? null : AGAIN_MS),
  });
  const cancel = useAction(() => post(`${path}/cancel`).then(batch.reload));
  const retry = useAction(() => post(`${path}/retry`).then(batch.reload));
  return (
    <section class="card stack" aria-label="Batch">
      <Loaded of={batch} what="the batch">
        {(shown) => (
          <>
            <div class="row">
              <h2 style={{ margin: 0 }}>{count(shown.items.length, "slide")}</h2>
              <StateBadge state={shown.state} />
              <span class="soft small">{inWords(shown.counts)}</span>
            </div>
            <progress
              max={1}
              value={shown.fraction}
              aria-label="Batch"
              aria-valuetext={formatPercent(shown.fraction)}
            />
            <ProblemNote problem={cancel.problem ?? retry.problem} />
            <div class="row">
              {!ENDED.includes(shown.state) ? (
                <Button look="danger" busy={cancel.running} onClick={() => void cancel.run()}>
                  Cancel what is left
                </Button>
              ) : null}
              {["incomplete", "failed", "canceled"].includes(shown.state) ? (
                <Button busy={retry.running} onClick={() => void retry.run()}>
                  Do what failed again
                </Button>
              ) : null}
            </div>
            <Items items={shown.items} />
          </>
        )}
      </Loaded>
    </section>
  );
}

function Items({ items }: { items: ApiShape<"BatchItem">[] }) {
  return (
    <Table
      caption="Slides of this batch"
      captionHidden
      rows={items}
      keyOf={(item) => item.slide}
      columns={[
        {
          title: "Slide",
          cell: (i) =>
            i.segmentation && i.state === "succeeded" ? (
              <Link href={`/slides/${i.slide}?seg=${i.segmentation}`}>{i.slide_name ?? i.slide}</Link>
            ) : (
              (i.slide_name ?? i.slide)
            ),
        },
        { title: "State", cell: (i) => <StateBadge state={i.state} /> },
        { title: "Done", number: true, cell: (i) => formatPercent(i.fraction) },
        { title: "What happened", cell: (i) => (i.error ? `${i.error.message} ${i.error.hint}` : "") },
      ]}
    />
  );
}

function inWords(counts: ApiShape<"BatchCounts">): string {
  return Object.entries(counts)
    .filter(([, n]) => n > 0)
    .map(([state, n]) => `${n} ${state}`)
    .join(", ");
}
