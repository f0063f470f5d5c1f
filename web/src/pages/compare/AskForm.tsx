import { useState } from "preact/hooks";
import { getAll, getJson } from "../../api/client";
import { useJson, useResource } from "../../api/resource";
import type { Benchmark, ModelVersion, StatsShape } from "../../api/types";
import { metricOf, protocolLabel } from "../../pure/metrics";
import { announce } from "../../ui/announce";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { Loaded } from "../../ui/Loading";
import { Notice, ProblemNote } from "../../ui/Notice";
import { useParameters } from "../../ui/url";
import { LockPlan } from "./LockPlan";
import type { Question } from "./question";
import { Settings } from "./Settings";
import { SidePicker } from "./SidePicker";

type Plan = StatsShape<"Plan">;

/** What may be compared here. */
export interface Choices {
  benchmarks: Benchmark[];
  models: ModelVersion[];
  plans: Plan[];
}

export type Change = (changed: Record<string, string | null>) => void;

function useChoices() {
  return useResource<Choices>("what may be compared", async (signal) => {
    const [benchmarks, models, plans] = await Promise.all([
      getAll<Benchmark>("/v1/benchmarks", signal),
      getAll<ModelVersion>("/v1/models", signal),
      getJson<StatsShape<"PlanList">>("/v1/plans?page_size=100", signal),
    ]);
    return { benchmarks, models, plans: plans.plans };
  });
}

export interface AskFormProps {
  question: Question;
  wanting: readonly string[];
  asked: boolean;
}

/** The question. Whatever changes in it, the answer is gone until it is asked for again. */
export function AskForm({ question, wanting, asked }: AskFormProps) {
  const [, setUrl] = useParameters();
  const choices = useChoices();
  const change: Change = (changed) => setUrl({ ...changed, ask: null });
  const [tried, setTried] = useState(false);
  const ask = (event: Event) => {
    event.preventDefault();
    setTried(true);
    if (wanting.length) return announce(wanting.join(" "));
    setUrl({ ask: "1" }, "push");
    window.scrollTo(0, 0);
  };
  return (
    <form class="stack" aria-label="The question" onSubmit={ask}>
      <ProblemNote problem={choices.problem} onRetry={choices.reload} />
      <div class="grid" style={{ gridTemplateColumns: "repeat(auto-fit, minmax(min(100%, 22rem), 1fr))" }}>
        <SidePicker name="a" side={question.a} choices={choices.data} onChange={change} />
        <SidePicker name="b" side={question.b} choices={choices.data} onChange={change} />
      </div>
      <section class="card stack" aria-label="What decides">
        <PlanSelect question={question} plans={choices.data?.plans ?? []} onChange={change} />
        {question.plan === null ? (
          <Settings question={question} choices={choices.data} onChange={change} />
        ) : (
          <Fixed id={question.plan} />
        )}
      </section>
      {tried && wanting.length ? (
        <Notice tone="bad" title="This cannot be asked yet">
          <ul style={{ margin: 0, paddingLeft: "1.2rem" }}>
            {wanting.map((line) => (
              <li key={line}>{line}</li>
            ))}
          </ul>
        </Notice>
      ) : null}
      <div class="row">
        <Button type="submit" look={asked ? "normal" : "primary"}>
          Read the verdict
        </Button>
        {question.plan === null ? (
          <LockPlan question={question} ready={wanting.length === 0} onLocked={choices.reload} />
        ) : null}
      </div>
    </form>
  );
}

interface PlanSelectProps {
  question: Question;
  plans: readonly Plan[];
  onChange: Change;
}

function PlanSelect({ question, plans, onChange }: PlanSelectProps) {
  const known = plans.some((p) => p.id === question.plan);
  return (
    <Field
      label="Plan"
      hint="Only under a plan that was locked before there were scores can a verdict be confirmatory."
    >
      {(ids) => (
        <select
          {...ids}
          style={{ maxWidth: "44rem" }}
          value={question.plan ?? ""}
          onChange={(e) => onChange({ plan: e.currentTarget.value || null })}
        >
          <option value="">no plan: exploratory</option>
          {question.plan !== null && !known ? <option value={question.plan}>{question.plan}</option> : null}
          {plans.map(({ id, content }) => (
            <option key={id} value={id}>
              {content.title || "untitled"}
              {content.models ? `: ${content.models.join(" against ")}` : ""},{" "}
              {metricOf(content.metric).label}, margin ±{content.margin.value}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

function Fixed({ id }: { id: string }) {
  const plan = useJson<Plan>(`/v1/plans/${encodeURIComponent(id)}`);
  return (
    <Loaded of={plan} what="the plan">
      {({ content }) => {
        const { unit, label } = metricOf(content.metric);
        return (
          <p>
            The plan fixes: {label} ({content.class}), margin ±{content.margin.value}
            {unit ? ` ${unit}` : ""}, alpha {content.alpha}
            {content.protocol ? `, ${protocolLabel(content.protocol)}` : ""}
            {content.models ? `; a is ${content.models[0]} and b is ${content.models[1]}` : ""}. Every
            comparison under it is entered into its trail.
          </p>
        );
      }}
    </Loaded>
  );
}
