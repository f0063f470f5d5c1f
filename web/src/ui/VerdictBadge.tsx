import { type VerdictName, verdictSign, verdictTitle, verdictTone } from "../pure/verdicts";

/** One of the five verdicts, by word, sign and colour. */
export function VerdictBadge({
  verdict,
  models,
}: {
  verdict: VerdictName;
  models: readonly [string, string];
}) {
  return (
    <span class={`badge ${verdictTone(verdict)}`}>
      <span aria-hidden="true">{verdictSign(verdict)}</span>
      {verdictTitle(verdict, models)}
    </span>
  );
}
