import type { ApiShape, Benchmark } from "../../api/types";
import { formatNumber } from "../../pure/format";
import { protocolLabel } from "../../pure/metrics";
import { Notice } from "../../ui/Notice";
import { Quantity } from "../../ui/Quantity";
import { Table } from "../../ui/Table";
import { noiseSentence } from "./noise";

/** By how much the search for settings flatters its own winners. */
export function SearchNoise({ benchmark }: { benchmark: Benchmark }) {
  if (benchmark.hpo_noise.length === 0)
    return (
      <p>No search was audited: the benchmark ran with fixed settings, or it has no finished folds yet.</p>
    );
  return (
    <div class="stack">
      <p>
        A search tries settings and keeps those with the best score on its own validation sections. Choosing
        the best of several lucky numbers makes that number too good. Here the winner's own score is set
        against the score of the same net on the subjects of the fold, which the search never saw.
      </p>
      {benchmark.hpo_noise.map((noise) => (
        <section class="card" key={`${noise.model} ${noise.protocol}`}>
          <h3>
            {noise.model}, {protocolLabel(noise.protocol)}
          </h3>
          <p>{noiseSentence(noise)}</p>
          {noise.optimistic ? (
            <Notice tone="warn">
              <p>
                This search was not nested: it saw the test sections too, so all its scores are too good and
                the gap is too small.
              </p>
            </Notice>
          ) : null}
          <Gaps noise={noise} />
        </section>
      ))}
    </div>
  );
}

function Gaps({ noise }: { noise: ApiShape<"HpoNoise"> }) {
  const rows: [string, ApiShape<"Gap"> | null][] = [
    ["Choosing (same net, inner minus outer score)", noise.selection ?? null],
    ["Choosing and training anew, mixed", noise.refitted],
  ];
  return (
    <details class="small">
      <summary>The numbers</summary>
      <Table
        caption="Inner minus outer score in Dice; the corrected interval decides"
        rows={rows}
        keyOf={([name]) => name}
        columns={[
          { title: "Gap", cell: ([name]) => name },
          {
            title: "Mean, corrected 95 % interval",
            number: true,
            cell: ([, gap]) => (
              <Quantity
                value={gap?.mean}
                unit=""
                interval={gap?.ci95_corrected as [number, number] | null | undefined}
                reason={gap ? "no interval below two splits" : "no test set outside the search"}
              />
            ),
          },
          {
            title: "As if splits were independent",
            number: true,
            cell: ([, gap]) => {
              const limits = gap?.ci95;
              return limits
                ? `${formatNumber(Number(limits[0]))} to ${formatNumber(Number(limits[1]))}`
                : "none";
            },
          },
          { title: "Splits", number: true, cell: ([, gap]) => gap?.splits ?? "none" },
        ]}
      />
    </details>
  );
}
