import { Link } from "wouter-preact";
import { post } from "../../api/client";
import { useAction, useJson } from "../../api/resource";
import type { ApiShape, Page } from "../../api/types";
import { count, formatMoment } from "../../pure/format";
import { Button, ButtonLink } from "../../ui/Button";
import { Empty, Loaded } from "../../ui/Loading";
import { ProblemNote } from "../../ui/Notice";
import { StateBadge } from "../../ui/StateBadge";
import { Table } from "../../ui/Table";
import { useParameters } from "../../ui/url";

type Batch = ApiShape<"BatchSummary">;
const OPEN = ["queued", "running"];
const AGAIN_MS = 2000;

/** Slides that were segmented together: how far they are, and what to do about what failed. */
export function Batches() {
  const [parameters, setParameters] = useParameters();
  const token = parameters.get("page") ?? "";
  const batches = useJson<Page<Batch>>(`/v1/batches?page_size=25&page_token=${encodeURIComponent(token)}`, {
    again: (page) => (page.items.some((b) => OPEN.includes(b.state)) ? AGAIN_MS : null),
  });
  return (
    <Loaded of={batches} what="batches">
      {(page) =>
        page.items.length === 0 ? (
          <Empty title="No batch yet">
            <p>Choose several slides in the list and press “Segment”: they run as one batch.</p>
            <ButtonLink href="/slides" look="primary">
              To the slides
            </ButtonLink>
          </Empty>
        ) : (
          <div class="stack">
            <List batches={page.items} onChanged={batches.reload} />
            <div class="row">
              {token ? <Button onClick={() => setParameters({ page: null }, "push")}>Newest</Button> : null}
              {page.next_page_token ? (
                <Button onClick={() => setParameters({ page: page.next_page_token }, "push")}>Older</Button>
              ) : null}
            </div>
          </div>
        )
      }
    </Loaded>
  );
}

function List({ batches, onChanged }: { batches: readonly Batch[]; onChanged: () => void }) {
  return (
    <Table
      caption="Batches, newest first"
      captionHidden
      rows={batches}
      keyOf={(batch) => batch.id}
      columns={[
        {
          title: "Batch",
          cell: (b) => <Link href={`/segment?batch=${b.id}`}>{count(slidesOf(b), "slide")}</Link>,
        },
        { title: "State", cell: (b) => <StateBadge state={b.state} /> },
        { title: "Slides", cell: (b) => inWords(b) },
        { title: "Model", cell: (b) => b.segmentation.model },
        { title: "Started", cell: (b) => <span class="small">{formatMoment(b.created_at)}</span> },
        { title: "Actions", cell: (b) => <BatchActions batch={b} onChanged={onChanged} /> },
      ]}
    />
  );
}

function BatchActions({ batch, onChanged }: { batch: Batch; onChanged: () => void }) {
  const path = `/v1/batches/${encodeURIComponent(batch.id)}`;
  const cancel = useAction(() => post(`${path}/cancel`).then(onChanged));
  const retry = useAction(() => post(`${path}/retry`).then(onChanged));
  return (
    <>
      <span class="row" style={{ gap: "0.3rem" }}>
        {OPEN.includes(batch.state) ? (
          <Button compact look="danger" busy={cancel.running} onClick={() => void cancel.run()}>
            Cancel what is left
          </Button>
        ) : null}
        {["incomplete", "failed", "canceled"].includes(batch.state) ? (
          <Button compact busy={retry.running} onClick={() => void retry.run()}>
            Do what failed again
          </Button>
        ) : null}
      </span>
      <ProblemNote problem={cancel.problem ?? retry.problem} />
    </>
  );
}

function slidesOf(batch: Batch): number {
  return Object.values(batch.counts).reduce((sum, n) => sum + n, 0);
}

function inWords(batch: Batch): string {
  return Object.entries(batch.counts)
    .filter(([, n]) => n > 0)
    .map(([state, n]) => `${n} ${state}`)
    .join(", ");
}
