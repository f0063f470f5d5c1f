import { useState } from "preact/hooks";
import type { Benchmark, Dataset } from "../../api/types";
import { betterWhen, METRICS, metricOf, protocolLabel } from "../../pure/metrics";
import { Field } from "../../ui/Field";
import { useParameters } from "../../ui/url";
import { protocolsOf, type Question } from "./question";

export interface ControlsProps {
  benchmark: Benchmark;
  dataset: Dataset | null;
  question: Question;
}

/** Which scores the page is about; all of it stands in the URL. */
export function Controls({ benchmark, dataset, question }: ControlsProps) {
  const [, setUrl] = useParameters();
  const metric = metricOf(question.metric);
  const classes = dataset?.classes.filter((c) => c.index !== 0).map((c) => c.name) ?? [];
  const protocols = protocolsOf(benchmark);
  return (
    <section class="card stack" aria-label="What is asked">
      <div class="row" style={{ alignItems: "start", gap: "1rem" }}>
        <Field label="Protocol">
          {(ids) => (
            <select
              {...ids}
              value={question.protocol}
              onChange={(e) => setUrl({ protocol: e.currentTarget.value })}
            >
              {protocols.map((name) => (
                <option key={name} value={name}>
                  {protocolLabel(name)}
                </option>
              ))}
            </select>
          )}
        </Field>
        <Field label="Metric" hint={betterWhen(question.metric)}>
          {(ids) => (
            <select
              {...ids}
              value={question.metric}
              onChange={(e) => {
                const chosen = metricOf(e.currentTarget.value);
                setUrl({ metric: chosen.name, ...(chosen.perClass ? {} : { class: null }), margin: null });
              }}
            >
              {METRICS.filter((m) => m.higherIsBetter !== null).map((m) => (
                <option key={m.name} value={m.name}>
                  {m.label}
                  {m.unit ? ` (${m.unit})` : ""}
                </option>
              ))}
            </select>
          )}
        </Field>
        <Field label="Class">
          {(ids) => (
            <select
              {...ids}
              value={question.class}
              disabled={!metric.perClass}
              onChange={(e) => setUrl({ class: e.currentTarget.value })}
            >
              <option value="macro">{metric.perClass ? "mean over classes" : "whole section"}</option>
              {metric.perClass
                ? classes.map((name) => (
                    <option key={name} value={name}>
                      {name}
                    </option>
                  ))
                : null}
            </select>
          )}
        </Field>
        <div style={{ maxWidth: "17rem" }}>
          <MarginField question={question} key={question.margin} />
        </div>
      </div>
      {metric.meaning ? (
        <p class="soft small" style={{ margin: 0 }}>
          {metric.label}: {metric.meaning}
        </p>
      ) : null}
    </section>
  );
}

function MarginField({ question }: { question: Question }) {
  const [, setUrl] = useParameters();
  const [text, setText] = useState(question.margin === null ? "" : String(question.margin));
  const value = Number(text);
  const wrong = text !== "" && !(value > 0) ? "Give a number above 0, or nothing." : undefined;
  const unit = metricOf(question.metric).unit;
  return (
    <Field
      label={`Margin${unit ? ` (${unit})` : ""}`}
      hint="The largest difference that does not matter: names the cheapest equivalent."
      wrong={wrong}
    >
      {(ids) => (
        <input
          {...ids}
          type="text"
          inputMode="decimal"
          size={8}
          value={text}
          placeholder="none"
          onInput={(e) => setText(e.currentTarget.value)}
          onChange={() => {
            if (!wrong) setUrl({ margin: text || null });
          }}
        />
      )}
    </Field>
  );
}
