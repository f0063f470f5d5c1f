import { useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { getAll, sendJson } from "../../api/client";
import { FINAL_STATES, useJob } from "../../api/events";
import { useAction, useJson, useResource } from "../../api/resource";
import type { ApiShape, Dataset, ModelVersion } from "../../api/types";
import { count } from "../../pure/format";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { Notice, ProblemNote } from "../../ui/Notice";
import { JobProgress } from "../../ui/Progress";
import { StateBadge } from "../../ui/StateBadge";
import { useParameters } from "../../ui/url";

/** Measure a model's uncertainty on labelled sections it was not trained on. */
export function MeasureEvidence({ model }: { model: ModelVersion }) {
  const [url, setUrl] = useParameters();
  const datasets = useResource<Dataset[]>("data sets", (signal) => getAll<Dataset>("/v1/datasets", signal));
  const [dataset, setDataset] = useState("");
  const measure = useAction(async () => {
    const path = `/v1/models/${encodeURIComponent(model.name)}/versions/${encodeURIComponent(model.version)}/evidence`;
    const made = await sendJson<ApiShape<"EvidenceView">>("POST", path, { dataset });
    setUrl({ evidence: made.id });
  });
  const shown = url.get("evidence");
  return (
    <section class="card stack">
      <h2>Measure it on your own sections</h2>
      <p>
        Confidence and intervals hold for sections like those they were measured on. Give labelled sections of
        your laboratory that it was not trained on; the same networks become a new version whose confidence
        and intervals come from them. Nine sections make wide intervals, but honest ones.
      </p>
      <div class="row" style={{ alignItems: "end" }}>
        <Field label="Labelled data set">
          {(ids) => (
            <select {...ids} value={dataset} onChange={(e) => setDataset(e.currentTarget.value)}>
              <option value="">choose</option>
              {datasets.data?.map((d) => (
                <option key={d.id} value={d.id}>
                  {d.name} ({count(d.cases.length, "section")})
                </option>
              ))}
            </select>
          )}
        </Field>
        <Button busy={measure.running} disabled={dataset === ""} onClick={() => void measure.run()}>
          Measure
        </Button>
      </div>
      <ProblemNote problem={datasets.problem} />
      <ProblemNote problem={measure.problem} />
      {shown ? <Measuring key={shown} id={shown} /> : null}
    </section>
  );
}

function Measuring({ id }: { id: string }) {
  const { job } = useJob(id);
  const again = (view: ApiShape<"EvidenceView">) => (FINAL_STATES.includes(view.state) ? null : 2000);
  const view = useJson<ApiShape<"EvidenceView">>(`/v1/evidence/${encodeURIComponent(id)}`, { again });
  const result = view.data?.result;
  const [name, version] = result?.model.split("@") ?? [];
  return (
    <div class="stack" aria-live="polite">
      <ProblemNote problem={view.problem} />
      {view.data ? (
        <div class="row">
          <StateBadge state={view.data.state} />
          {view.data.compared
            ? "Its sections were compared with those of the training: no copy was found."
            : "Its training data is not here, so copies could not be searched for."}
        </div>
      ) : null}
      {job && !FINAL_STATES.includes(job.state) ? (
        <JobProgress progress={job.progress} label="Progress of the measurement" />
      ) : null}
      {view.data?.error ? (
        <Notice tone="bad" title="It failed">
          <p>{view.data.error.message}</p>
        </Notice>
      ) : null}
      {result && name && version ? (
        <Notice tone="good" title="Measured">
          <p>{result.calibration}</p>
          <p>
            The new version:{" "}
            <Link href={`/models/${encodeURIComponent(name)}/${encodeURIComponent(version)}`}>
              {result.model}
            </Link>
            . Give it an alias to use it.
          </p>
        </Notice>
      ) : null}
    </div>
  );
}
