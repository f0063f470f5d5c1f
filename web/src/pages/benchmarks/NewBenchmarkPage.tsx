import { useEffect, useMemo, useRef } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { useApiCalls } from "../../api/calls";
import { getAll, getJson, sendJson } from "../../api/client";
import type { Problem } from "../../api/problem";
import { useAction, useResource } from "../../api/resource";
import type { ApiShape, Dataset } from "../../api/types";
import { count } from "../../pure/format";
import {
  type Definitions,
  errorsByField,
  type JsonObject,
  type Schema,
  spoken,
  titleOf,
} from "../../pure/schema";
import { announce } from "../../ui/announce";
import { Button, ButtonLink } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { Empty, Loaded } from "../../ui/Loading";
import { Notice, ProblemNote } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { type FormContext, type PartProps, SchemaFields, wordsOf } from "../../ui/SchemaForm";
import { useParameters } from "../../ui/url";
import { ArchitecturePicker } from "./ArchitecturePicker";
import { LeakageRefusal } from "./LeakageRefusal";
import "./benchmarks.css";

interface OpenApi {
  components: { schemas: Definitions };
}

interface Known {
  definitions: Definitions;
  datasets: Dataset[];
  architectures: ApiShape<"ArchitectureView">[];
}

const SPEC: Schema = { $ref: "#/components/schemas/BenchmarkSpec" };
const MAIN = ["dataset", "preset", "architectures", "protocols"];
const PATH = "/v1/benchmarks";

/** Set up a benchmark: the form is made from the schema that the service publishes. */
export default function NewBenchmarkPage() {
  const known = useResource<Known>("spec", async (signal) => {
    const [document, datasets, listed] = await Promise.all([
      getJson<OpenApi>("/openapi.json", signal),
      getAll<Dataset>("/v1/datasets", signal),
      getJson<ApiShape<"ArchitecturesView">>("/v1/architectures", signal),
    ]);
    return { definitions: document.components.schemas, datasets, architectures: listed.architectures };
  });
  return (
    <>
      <PageHead
        title="New benchmark"
        about="Every contender is trained on the same folds and scored on subjects it has not seen."
      />
      <Loaded of={known} what="what can be benchmarked">
        {(found) =>
          found.datasets.length ? (
            <Form known={found} />
          ) : (
            <Empty title="A benchmark needs a data set">
              <p>Add images with masks first.</p>
              <ButtonLink look="primary" href="/datasets">
                To the data sets
              </ButtonLink>
            </Empty>
          )
        }
      </Loaded>
    </>
  );
}

/** What the form holds stands in the URL, so that a half-filled one can be shared or come back to. */
function useSpec(known: Known): [JsonObject, (spec: JsonObject) => void] {
  const [parameters, set] = useParameters();
  const text = parameters.get("spec");
  const dataset = parameters.get("dataset") ?? known.datasets[0]?.id ?? "";
  const spec = useMemo(() => {
    const usual: JsonObject = { dataset, architectures: [], protocols: [{ kind: "loocv" }] };
    try {
      return text ? { ...usual, ...(JSON.parse(text) as JsonObject) } : usual;
    } catch {
      return usual;
    }
  }, [text, dataset]);
  return [
    spec,
    (changed) => set({ spec: JSON.stringify(spoken(changed, SPEC, known.definitions)), dataset: null }),
  ];
}

function Form({ known }: { known: Known }) {
  const [spec, setSpec] = useSpec(known);
  const [, navigate] = useLocation();
  const body = spoken(spec, SPEC, known.definitions);
  const submit = useAction(async () => {
    const started = await sendJson<ApiShape<"BenchmarkStarted">>("POST", PATH, body);
    announce("The benchmark has started.");
    navigate(`/benchmarks/${started.id}`);
  });
  useApiCalls([
    { title: "What can be compared", method: "GET", path: "/v1/architectures" },
    { title: "Start the benchmark", method: "POST", path: PATH, body },
  ]);
  const problem = submit.problem;
  const { placed: wrong, left } = useMemo(
    // a leak is shown by its pictures, not at a field
    () => errorsByField(problem && problem.code !== "leakage" ? problem.errors : [], SPEC, known.definitions),
    [problem, known],
  );
  const place = useRef<HTMLFormElement>(null);
  useEffect(() => {
    if (problem) place.current?.querySelector<HTMLElement>("[aria-invalid=true], [data-refusal]")?.focus();
  }, [problem]);
  const form: FormContext = { definitions: known.definitions, wrong };
  form.custom = {
    "/dataset": (part) => <DatasetChoice part={part} form={form} datasets={known.datasets} />,
    "/external_dataset": (part) => <DatasetChoice part={part} form={form} datasets={known.datasets} />,
    "/preset": (part) => <PresetChoice part={part} form={form} />,
    "/architectures": (part) => <ArchitecturePicker part={part} form={form} known={known.architectures} />,
  };
  const rest = Object.keys(known.definitions.BenchmarkSpec?.properties ?? {}).filter(
    (n) => !MAIN.includes(n),
  );
  const advancedWrong = [...wrong.keys()].some((p) => rest.includes(p.split("/")[1] ?? ""));
  return (
    <form
      class="stack"
      ref={place}
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void submit.run();
      }}
    >
      <SchemaFields schema={SPEC} value={spec} onChange={setSpec} form={form} only={MAIN} />
      <details class="card" open={advancedWrong}>
        <summary>Search, seeds, second data set, publishing</summary>
        <div class="schema-fields" style={{ marginTop: "0.75rem" }}>
          <SchemaFields schema={SPEC} value={spec} onChange={setSpec} form={form} only={rest} />
        </div>
      </details>
      {problem?.code === "leakage" ? (
        <LeakageRefusal
          problem={problem}
          datasets={known.datasets}
          dataset={String(spec.dataset)}
          override={typeof spec.allow_leakage === "string" ? spec.allow_leakage : ""}
          onOverride={(reason) => setSpec({ ...spec, allow_leakage: reason || null })}
        />
      ) : (
        <Refusal problem={problem} fields={wrong.size} left={left} />
      )}
      <div class="row">
        <Button type="submit" look="primary" busy={submit.running} disabled={!architecturesOf(spec)}>
          Start the benchmark
        </Button>
        <span class="soft">{amount(spec, known)}</span>
      </div>
    </form>
  );
}

function architecturesOf(spec: JsonObject): number {
  return Array.isArray(spec.architectures) ? spec.architectures.length : 0;
}

/** What was asked for, in a line. */
function amount(spec: JsonObject, known: Known): string {
  const contenders = architecturesOf(spec);
  if (!contenders) return "Choose at least one architecture; two or more are compared.";
  const cases = known.datasets.find((d) => d.id === spec.dataset)?.cases ?? [];
  const subjects = new Set(cases.map((c) => c.subject)).size;
  return `${count(contenders, "architecture")} on ${count(cases.length, "image")} of ${count(subjects, "subject")}.`;
}

function DatasetChoice({
  part,
  form,
  datasets,
}: {
  part: PartProps;
  form: FormContext;
  datasets: readonly Dataset[];
}) {
  return (
    <Field
      {...wordsOf(part, form)}
      label={part.required ? "Data set" : "Second data set"}
      hint={part.required ? undefined : wordsOf(part, form).hint}
    >
      {(ids) => (
        <select
          {...ids}
          value={String(part.value ?? "")}
          onChange={(event) => part.onChange(event.currentTarget.value || (part.required ? "" : null))}
        >
          {part.required ? null : <option value="">none</option>}
          {datasets.map((d) => (
            <option key={d.id} value={d.id}>
              {d.name} ({count(d.cases.length, "image")}, {d.licence})
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

function PresetChoice({ part, form }: { part: PartProps; form: FormContext }) {
  const words = wordsOf(part, form);
  return (
    <fieldset class="schema-part">
      <legend>{titleOf(part.name, part.schema)}</legend>
      <div class="row">
        {part.schema.enum?.map((preset) => (
          <label class="row" key={String(preset)}>
            <input
              type="radio"
              name="preset"
              checked={part.value === preset}
              onChange={() => part.onChange(preset)}
            />
            {String(preset)}
          </label>
        ))}
      </div>
      <p class="hint">{words.hint}</p>
      {words.wrong ? <p class="wrong">{words.wrong}</p> : null}
    </fieldset>
  );
}

/** Why the benchmark was not started; what belongs to a field stands at the field. */
function Refusal({
  problem,
  fields,
  left,
}: {
  problem: Problem | null;
  fields: number;
  left: readonly string[];
}) {
  if (!problem || !fields) return <ProblemNote problem={problem} />;
  return (
    <Notice
      tone="bad"
      title={`${count(fields, "field")} above ${fields === 1 ? "needs" : "need"} another value`}
    >
      {left.map((text) => (
        <p key={text}>{text}</p>
      ))}
      {problem.hints.map((hint) => (
        <p key={hint}>
          <strong>What to do:</strong> {hint}
        </p>
      ))}
      <p class="small soft">Nothing was started. Request {problem.requestId}</p>
    </Notice>
  );
}
