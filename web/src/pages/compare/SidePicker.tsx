import { formatMoment } from "../../pure/format";
import { Field } from "../../ui/Field";
import type { Change, Choices } from "./AskForm";
import { OWN_SCORES, type Side, type SideName, wrongWithScores } from "./question";

export interface SidePickerProps {
  name: SideName;
  side: Side;
  choices: Choices | null;
  onChange: Change;
}

/** One side: a model of a benchmark, a published model, or scores of one's own. */
export function SidePicker({ name, side, choices, onChange }: SidePickerProps) {
  return (
    <section class="card stack" aria-label={`Model ${name}`}>
      <Field label={`Model ${name}`} required>
        {(ids) => (
          <select
            {...ids}
            style={{ width: "100%" }}
            value={urlValue(side)}
            onChange={(e) => onChange({ [name]: e.currentTarget.value || null })}
          >
            <option value="">choose</option>
            <option value={OWN_SCORES}>my own scores (paste them)</option>
            <Unlisted side={side} choices={choices} />
            {choices?.benchmarks.map((benchmark) => (
              <optgroup key={benchmark.id} label={`Benchmark of ${formatMoment(benchmark.created_at)}`}>
                {[...new Set(benchmark.leaderboard.map((e) => e.model))].map((model) => (
                  <option key={model} value={`${benchmark.id}/${model}`}>
                    {model}
                  </option>
                ))}
              </optgroup>
            ))}
            <optgroup label="Published models (scores of their benchmark)">
              {choices?.models
                .filter((m) => m.card.benchmark)
                .map((m) => (
                  <option key={m.name + m.version} value={`model:${m.name}@${m.version}`}>
                    {m.name} {m.version}
                  </option>
                ))}
            </optgroup>
          </select>
        )}
      </Field>
      {side.kind === "scores" ? <Pasted name={name} side={side} onChange={onChange} /> : null}
    </section>
  );
}

function urlValue(side: Side): string {
  if (side.kind === "benchmark") return `${side.benchmark}/${side.architecture}`;
  if (side.kind === "model") return `model:${side.model}`;
  return side.kind === "scores" ? OWN_SCORES : "";
}

/** A side of a shared link that is not among the choices stays chosen. */
function Unlisted({ side, choices }: { side: Side; choices: Choices | null }) {
  if (side.kind === "none" || side.kind === "scores") return null;
  const listed =
    side.kind === "benchmark"
      ? choices?.benchmarks
          .find((b) => b.id === side.benchmark)
          ?.leaderboard.some((e) => e.model === side.architecture)
      : choices?.models.some((m) => m.card.benchmark && `${m.name}@${m.version}` === side.model);
  const value = urlValue(side);
  return listed ? null : <option value={value}>{value.replace(/^model:/, "")}</option>;
}

interface PastedProps {
  name: SideName;
  side: Extract<Side, { kind: "scores" }>;
  onChange: Change;
}

function Pasted({ name, side, onChange }: PastedProps) {
  return (
    <>
      <Field label={`Name of model ${name}`}>
        {(ids) => (
          <input
            {...ids}
            type="text"
            maxLength={200}
            value={side.label}
            onInput={(e) => onChange({ [`${name}l`]: e.currentTarget.value })}
          />
        )}
      </Field>
      <Field
        label={`Scores of model ${name}`}
        hint="One line per subject or section: subject, score. Two columns of a spreadsheet paste too; sections of one subject are averaged. They become part of this page's address."
        wrong={side.text === "" ? undefined : wrongWithScores(side.text)}
      >
        {(ids) => (
          <textarea
            {...ids}
            rows={6}
            class="mono"
            value={side.text}
            placeholder={"m1, 0.91\nm2, 0.88"}
            onInput={(e) => onChange({ [`${name}s`]: e.currentTarget.value })}
          />
        )}
      </Field>
    </>
  );
}
