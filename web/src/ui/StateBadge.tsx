const TONES: Record<string, string> = {
  succeeded: "good",
  done: "good",
  failed: "bad",
  incomplete: "warn",
  refused: "bad",
  canceled: "",
  canceling: "warn",
  running: "busy",
  validating: "busy",
  ready: "busy",
};
const SIGNS: Record<string, string> = { good: "✓", bad: "✕", warn: "!", busy: "●" };

/** The state of a job, unit or batch, by word, sign and colour. */
export function StateBadge({ state }: { state: string }) {
  const tone = TONES[state] ?? "";
  return (
    <span class={`badge ${tone}`}>
      {SIGNS[tone] ? <span aria-hidden="true">{SIGNS[tone]}</span> : null}
      {state}
    </span>
  );
}
