import type { ApiShape } from "../api/types";
import { formatDuration, formatNumber } from "../pure/format";

/** How far a job is, in words and as a bar. */
export function JobProgress({ progress, label }: { progress: ApiShape<"Progress">; label: string }) {
  const eta =
    progress.eta_s === null || progress.eta_s === undefined
      ? ""
      : `, about ${formatDuration(progress.eta_s)} left`;
  const words = progress.total
    ? `${formatNumber(progress.done)} of ${formatNumber(progress.total)} ${progress.unit}${eta}`
    : progress.message;
  return (
    <div class="stack" style={{ gap: "0.2rem" }}>
      <progress max={progress.total || 1} value={progress.done} aria-label={label} aria-valuetext={words} />
      <span class="small soft">
        {words}
        {progress.total && progress.message ? ` · ${progress.message}` : ""}
      </span>
    </div>
  );
}
