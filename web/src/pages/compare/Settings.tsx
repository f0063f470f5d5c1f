import { useJson } from "../../api/resource";
import type { Benchmark, Dataset } from "../../api/types";
import { betterWhen, METRICS, metricOf, protocolLabel } from "../../pure/metrics";
import { BASES } from "../../pure/verdicts";
import { Field } from "../../ui/Field";
import type { Change, Choices } from "./AskForm";
import type { Question, Side } from "./question";

export interface SettingsProps {
  question: Question;
  choices: Choices | null;
  onChange: Change;
}

/** What decides: metric, class, protocol, and the margin with where it comes from. */
export function Settings(props: SettingsProps) {
  const { question } = props;
  const pasted = question.a.kind === "scores" && question.b.kind === "scores";
  return (
    <>
      <Margin {...props} />
      <div class="row" style={{ alignItems: "start", gap: "1rem" }}>
        <MetricSelect {...props} />
        <ClassSelect {...props} />
        <ProtocolSelect {...props} />
        {pasted ? <DependenceSelect {...props} /> : null}
      </div>
    </>
  );
}

function Margin({ question, onChange }: SettingsProps) {
  const { unit } = metricOf(question.metric);
  return (
    <div class="row" style={{ alignItems: "start", gap: "1rem" }}>
      <div style={{ maxWidth: "25rem" }}>
        <Field
          label={`Margin${unit ? ` (${unit})` : ""}`}
          required
          hint="The largest difference that would not matter to you. Fix it before you look at any score: chosen afterwards, a margin can prove anything."
        >
          {(ids) => (
            <input
              {...ids}
              type="text"
              inputMode="decimal"
              style={{ width: "9rem" }}
              value={question.margin}
              placeholder="0.02"
              onInput={(e) => onChange({ margin: e.currentTarget.value })}
            />
          )}
        </Field>
      </div>
      <Field label="Where the margin comes from" hint="It is printed with the verdict.">
        {(ids) => (
          <select
            {...ids}
            value={question.basis}
            onChange={(e) => onChange({ basis: e.currentTarget.value })}
          >
            {BASES.map(([basis, words]) => (
              <option key={basis} value={basis}>
                {words}
              </option>
            ))}
          </select>
        )}
      </Field>
      <Field label="Alpha" hint="Accepted risk of a false claim.">
        {(ids) => (
          <input
            {...ids}
            type="text"
            inputMode="decimal"
            style={{ width: "6rem" }}
            value={question.alpha}
            onInput={(e) => onChange({ alpha: e.currentTarget.value })}
          />
        )}
      </Field>
    </div>
  );
}

function MetricSelect({ question, onChange }: SettingsProps) {
  const choose = (name: string) =>
    onChange({ metric: name, ...(metricOf(name).perClass ? {} : { class: null }) });
  return (
    <Field label="Metric" hint={betterWhen(question.metric)}>
      {(ids) => (
        <select {...ids} value={question.metric} onChange={(e) => choose(e.currentTarget.value)}>
          {METRICS.filter((m) => m.higherIsBetter !== null).map((m) => (
            <option key={m.name} value={m.name}>
              {m.label}
              {m.unit ? ` (${m.unit})` : ""}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

/** The benchmark behind the sides: their own, or that of a published model. */
function benchmarkOf(question: Question, choices: Choices | null): Benchmark | null {
  const idOf = (side: Side) => {
    if (side.kind === "benchmark") return side.benchmark;
    if (side.kind !== "model") return null;
    return choices?.models.find((m) => `${m.name}@${m.version}` === side.model)?.card.benchmark ?? null;
  };
  const ids = [idOf(question.a), idOf(question.b)];
  return choices?.benchmarks.find((b) => ids.includes(b.id)) ?? null;
}

function ClassSelect({ question, choices, onChange }: SettingsProps) {
  const benchmark = benchmarkOf(question, choices);
  const dataset = useJson<Dataset>(
    benchmark ? `/v1/datasets/${encodeURIComponent(benchmark.dataset)}` : null,
  );
  const classes = dataset.data?.classes.filter((c) => c.index !== 0).map((c) => c.name) ?? [];
  const perClass = metricOf(question.metric).perClass;
  const listed = question.class === "macro" || classes.includes(question.class);
  return (
    <Field label="Class">
      {(ids) => (
        <select
          {...ids}
          value={question.class}
          disabled={!perClass}
          onChange={(e) => onChange({ class: e.currentTarget.value })}
        >
          <option value="macro">{perClass ? "mean over classes" : "whole section"}</option>
          {listed ? null : <option value={question.class}>{question.class}</option>}
          {classes.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

function ProtocolSelect({ question, choices, onChange }: SettingsProps) {
  const benchmark = benchmarkOf(question, choices);
  if (!benchmark) return null;
  const protocols = [...new Set(benchmark.leaderboard.map((e) => e.protocol))];
  const only = protocols.length === 1 ? protocols[0] : undefined;
  return (
    <Field label="Protocol">
      {(ids) => (
        <select
          {...ids}
          value={question.protocol ?? ""}
          onChange={(e) => onChange({ protocol: e.currentTarget.value || null })}
        >
          <option value="">{only ? protocolLabel(only) : "choose one"}</option>
          {protocols
            .filter((name) => name !== only || question.protocol === name)
            .map((name) => (
              <option key={name} value={name}>
                {protocolLabel(name)}
              </option>
            ))}
        </select>
      )}
    </Field>
  );
}

const DEPENDENCES: readonly [string, string][] = [
  ["", "each model trained once, tested on new subjects"],
  ["loocv", "leave one subject out"],
  ["kfold3", "3-fold cross-validation"],
  ["kfold5", "5-fold cross-validation"],
  ["kfold10", "10-fold cross-validation"],
];

function DependenceSelect({ question, onChange }: SettingsProps) {
  return (
    <Field label="How the scores were made" hint="Folds share training subjects, which widens the intervals.">
      {(ids) => (
        <select
          {...ids}
          value={question.dependence}
          onChange={(e) => onChange({ dep: e.currentTarget.value })}
        >
          {DEPENDENCES.map(([value, words]) => (
            <option key={value} value={value}>
              {words}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}
