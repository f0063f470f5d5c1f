import type { FieldProblem, Problem } from "../../api/problem";
import type { Dataset } from "../../api/types";
import { count } from "../../pure/format";
import { type Alike, CasePair } from "../../ui/CasePair";
import { Field } from "../../ui/Field";
import { Notice } from "../../ui/Notice";

interface Pair {
  a: string;
  b: string;
  kind: string;
  alike: Alike | null;
  b_dataset: string | null;
}

export interface LeakageProps {
  problem: Problem;
  datasets: readonly Dataset[];
  dataset: string;
  override: string;
  onOverride: (reason: string) => void;
}

/** Why the leakage guard refuses a benchmark: every pair of images that would stand on both sides of a split. */
export function LeakageRefusal({ problem, datasets, dataset, override, onOverride }: LeakageProps) {
  const pairs = pairsOf(problem.errors);
  const first = datasets.find((d) => d.id === dataset);
  return (
    <section class="stack" aria-labelledby="leakage" data-refusal tabIndex={-1}>
      <Notice tone="bad" title="Refused: the scores would be too good">
        <p id="leakage">
          {count(pairs.length, "pair")} of images would stand on both sides of a split: the model would be
          tested on what it has trained on.
        </p>
        {problem.hints.map((hint) => (
          <p key={hint}>
            <strong>What to do:</strong> {hint}
          </p>
        ))}
      </Notice>
      <div class="grid">
        {pairs.map(({ pair, messages }) => {
          const second = pair.b_dataset ? datasets.find((d) => d.id === pair.b_dataset) : first;
          return first && second ? (
            <div key={`${pair.a} ${pair.b} ${pair.kind}`} class="stack" style={{ gap: "0.3rem" }}>
              <CasePair {...pair} datasetA={first} datasetB={second} />
              {messages.map((message) => (
                <p key={message} class="small soft" style={{ margin: 0 }}>
                  {message}
                </p>
              ))}
            </div>
          ) : null;
        })}
      </div>
      <Field
        label="Why it is no leak"
        hint="Only if you are sure. What you write is recorded in every result of this benchmark; then start it again."
      >
        {(ids) => (
          <textarea
            {...ids}
            rows={2}
            value={override}
            maxLength={1000}
            onInput={(event) => onOverride(event.currentTarget.value)}
          />
        )}
      </Field>
    </section>
  );
}

/** The pairs a refusal names, each once, with all that is said of it. */
function pairsOf(places: readonly FieldProblem[]): { pair: Pair; messages: string[] }[] {
  const found = new Map<string, { pair: Pair; messages: string[] }>();
  for (const place of places) {
    const { pair } = place as FieldProblem & { pair?: Pair };
    if (!pair) continue;
    const key = `${pair.a} ${pair.b} ${pair.kind} ${pair.b_dataset}`;
    const known = found.get(key) ?? { pair, messages: [] };
    found.set(key, { pair, messages: [...known.messages, place.message] });
  }
  return [...found.values()];
}
