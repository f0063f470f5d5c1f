import { Link } from "wouter-preact";
import type { Benchmark } from "../../api/types";
import { contenderOf, meanOfFolds, progressByContender, type Share, STAGES } from "../../pure/board";
import { formatNumber } from "../../pure/format";
import { Table } from "../../ui/Table";
import type { Training, Unit } from "./BoardPage";

interface Line {
  name: string;
  stages: Map<string, Share>;
  /** The best inner score of each search that has one. */
  inner: number[];
}

/** Who is how far: units by stage, the best inner score, and what the folds say so far. */
export function Contenders({
  benchmark,
  units,
  trainings,
  going,
}: {
  benchmark: Benchmark;
  units: readonly Unit[];
  trainings: readonly Training[];
  going: boolean;
}) {
  const lines: Line[] = [...progressByContender(units)].map(([name, stages]) => ({
    name,
    stages,
    inner: benchmark.studies
      .filter((s) => contenderOf(s.study) === name)
      .flatMap((s) => (s.best === null || s.best === undefined ? [] : [s.best])),
  }));
  const stages = STAGES.filter((s) => lines.some((l) => l.stages.has(s.kind)));
  if (!lines.length) return null;
  return (
    <section class="stack" style={{ gap: "0.35rem" }} aria-labelledby="contenders">
      <h2 id="contenders" style={{ margin: 0 }}>
        Contenders
      </h2>
      <Table
        caption="Contenders"
        captionHidden
        rows={lines}
        keyOf={(line) => line.name}
        columns={[
          { title: "Contender", cell: (line) => line.name },
          ...stages.map((stage) => ({
            title: stage.title,
            cell: (line: Line) => (
              <Stage share={line.stages.get(stage.kind)} name={`${line.name} ${stage.title}`} />
            ),
          })),
          { title: "Best inner score", cell: (line) => <Inner of={line} id={benchmark.id} /> },
          {
            title: "Dice on unseen subjects",
            cell: (line) => <Outer of={line} rows={trainings} done={!going} />,
          },
        ]}
      />
      <p class="small soft">
        The best inner score flatters (it is selection-biased): it is the best of several trials on the very
        images that chose it. Compare contenders by the folds, once they are complete.
      </p>
    </section>
  );
}

function Stage({ share, name }: { share: Share | undefined; name: string }) {
  if (!share) return <span class="soft">none</span>;
  return (
    <span class="stage small">
      <progress
        max={share.total}
        value={share.done}
        aria-label={name}
        aria-valuetext={`${share.done} of ${share.total}`}
      />
      {share.done} of {share.total}
    </span>
  );
}

function Inner({ of, id }: { of: Line; id: string }) {
  if (!of.inner.length) return <span class="soft">none yet</span>;
  const [low, high] = [Math.min(...of.inner), Math.max(...of.inner)];
  return (
    <Link href={`/benchmarks/${id}/search?study=${encodeURIComponent(of.name)}`}>
      {low === high ? formatNumber(high) : `${formatNumber(low)} to ${formatNumber(high)}`}
      <span class="soft small"> in {of.inner.length} searches, selection-biased</span>
    </Link>
  );
}

function Outer({ of, rows, done }: { of: Line; rows: readonly Training[]; done: boolean }) {
  const found = meanOfFolds(rows, of.name);
  const total = of.stages.get("fold")?.total ?? 0;
  if (!found) return <span class="soft">not measured yet</span>;
  return (
    <>
      {formatNumber(found.mean)}{" "}
      <span class="soft small">
        mean of {found.folds} of {total} folds{done && found.folds === total ? "" : ", not final"}
      </span>
    </>
  );
}
