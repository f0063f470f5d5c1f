import { useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { useApiCalls } from "../../api/calls";
import { getAll, request } from "../../api/client";
import { useAction, useResource } from "../../api/resource";
import type { ApiShape, Dataset } from "../../api/types";
import { count, formatBytes } from "../../pure/format";
import { Button, ButtonLink } from "../../ui/Button";
import { CasePicture } from "../../ui/CasePicture";
import { Field } from "../../ui/Field";
import { Empty, Loaded } from "../../ui/Loading";
import { Notice, ProblemNote } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";

type Created = ApiShape<"DatasetCreated">;

/** The data sets there are, and how to add one. */
export default function DatasetsPage() {
  const datasets = useResource("datasets", (signal) => getAll<Dataset>("/v1/datasets", signal));
  useApiCalls([
    { title: "The data sets", method: "GET", path: "/v1/datasets" },
    { title: "Add a data set", method: "POST", path: "/v1/datasets", form: { file: "@dataset.zip" } },
  ]);
  return (
    <>
      <PageHead title="Data sets" about="Images with masks, grouped by subject: what benchmarks train on." />
      <div class="stack">
        <Upload onStored={datasets.reload} />
        <Loaded of={datasets} what="the data sets">
          {(shown) =>
            shown.length ? (
              <div class="grid">
                {shown.map((d) => (
                  <DatasetCard key={d.id} dataset={d} />
                ))}
              </div>
            ) : (
              <Empty title="No data set yet">
                <p>Add a zip above, or send corrected masks here from a slide.</p>
              </Empty>
            )
          }
        </Loaded>
      </div>
    </>
  );
}

function DatasetCard({ dataset }: { dataset: Dataset }) {
  const first = dataset.cases[0];
  const subjects = new Set(dataset.cases.map((c) => c.subject)).size;
  return (
    <article class="card stack">
      <div class="row" style={{ alignItems: "start", flexWrap: "nowrap" }}>
        {first ? (
          <div style={{ width: "6.5rem", flex: "none" }}>
            <CasePicture dataset={dataset.id} of={first} px={192} mask={0.5} />
          </div>
        ) : null}
        <div style={{ minWidth: 0 }}>
          <h2 style={{ overflowWrap: "anywhere" }}>
            <Link href={`/datasets/${dataset.id}`}>{dataset.name}</Link>
          </h2>
          <p>
            {count(dataset.cases.length, "image")} of {count(subjects, "subject")}
            <br />
            <span class="soft small">
              {dataset.classes
                .slice(1)
                .map((c) => c.name)
                .join(", ")}
              <br />
              Licence: {dataset.licence}
            </span>
          </p>
        </div>
      </div>
      <div>
        <ButtonLink compact href={`/benchmarks/new?dataset=${dataset.id}`}>
          Benchmark models on it
        </ButtonLink>
      </div>
    </article>
  );
}

function Upload({ onStored }: { onStored: () => void }) {
  const [file, setFile] = useState<File | null>(null);
  const [stored, setStored] = useState<Created | null>(null);
  const send = useAction(async (chosen: File) => {
    const body = new FormData();
    body.append("file", chosen);
    const answer = await request("/v1/datasets", { method: "POST", body });
    setStored((await answer.json()) as Created);
    onStored();
  });
  return (
    <details class="card" open={Boolean(stored || send.problem)}>
      <summary>Add a data set</summary>
      <form
        class="stack"
        style={{ marginTop: "0.75rem" }}
        onSubmit={(event) => {
          event.preventDefault();
          if (file) void send.run(file);
        }}
      >
        <Field
          label="Zip file"
          hint="manifest.json beside the folders of images and masks. A mask is one channel of class numbers (PNG or TIFF). Every image names its subject; its pixel size too, where it is known."
        >
          {(ids) => (
            <input
              {...ids}
              type="file"
              accept=".zip,application/zip"
              onChange={(event) => setFile(event.currentTarget.files?.[0] ?? null)}
            />
          )}
        </Field>
        <details class="small">
          <summary>What manifest.json looks like</summary>
          <pre>{EXAMPLE}</pre>
        </details>
        <div class="row">
          <Button type="submit" look="primary" disabled={!file} busy={send.running}>
            {send.running ? "Checking every image" : "Upload"}
          </Button>
          {file ? <span class="soft small">{formatBytes(file.size)}</span> : null}
        </div>
        <ProblemNote problem={send.problem} />
        {stored ? <Stored made={stored} /> : null}
      </form>
    </details>
  );
}

function Stored({ made }: { made: Created }) {
  return (
    <Notice tone={made.warnings.length ? "warn" : "good"} title="Stored">
      <p>
        <Link href={`/datasets/${made.id}`}>Look at it</Link>: {count(made.cases, "image")} of{" "}
        {count(made.subjects, "subject")}.
      </p>
      {made.warnings.length ? (
        <ul>
          {made.warnings.map((w) => (
            <li key={w}>{w}</li>
          ))}
        </ul>
      ) : null}
    </Notice>
  );
}

const EXAMPLE = `{
  "name": "mouse carotid, day 28",
  "licence": "CC-BY-4.0",
  "classes": [
    {"index": 0, "name": "background", "color": "#000000"},
    {"index": 1, "name": "lumen", "color": "#56b4e9"},
    {"index": 2, "name": "neointima", "color": "#e69f00"},
    {"index": 3, "name": "media", "color": "#cc79a7"}
  ],
  "cases": [
    {"image": "images/m1-s1.png", "mask": "masks/m1-s1.png", "subject": "mouse 1", "mpp": 0.65}
  ]
}`;
