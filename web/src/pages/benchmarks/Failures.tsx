import type { Benchmark } from "../../api/types";
import { unitInWords } from "../../pure/board";
import { count } from "../../pure/format";
import { Notice } from "../../ui/Notice";
import type { Unit } from "./BoardPage";

/** What failed, why, and what that costs; nothing where nothing did. */
export function Failures({ benchmark, units }: { benchmark: Benchmark; units: readonly Unit[] }) {
  const failed = units.filter((u) => u.state === "failed");
  const skipped = units.filter((u) => u.state === "skipped").length;
  if (!failed.length && !benchmark.error) return null;
  return (
    <Notice tone="bad" title={failed.length ? `${count(failed.length, "unit")} failed` : "It failed"}>
      {benchmark.error && !failed.length ? <p>{benchmark.error.message}</p> : null}
      <ul>
        {failed.slice(0, 20).map((unit) => (
          <li key={unit.key}>
            <strong>{unitInWords(unit.key)}</strong>, {count(unit.attempt, "attempt")}: {unit.error}
          </li>
        ))}
      </ul>
      {failed.length > 20 ? <p>{failed.length - 20} more are in the log.</p> : null}
      {skipped ? <p>{count(skipped, "unit")} behind them were skipped.</p> : null}
      {benchmark.incomplete.length ? (
        <p>
          {[...new Set(benchmark.incomplete.map((part) => part.model))].join(", ")}: incomplete, and so
          without a rank. The others are not affected.
        </p>
      ) : null}
      <p>
        <strong>What to do:</strong> mend the cause if it is yours (memory, disk, an image), then “Take it up
        again”: what is done stays done.
      </p>
    </Notice>
  );
}
