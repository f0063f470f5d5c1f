import { useRef, useState } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import { useApiCalls } from "../../api/calls";
import { getAll, request } from "../../api/client";
import { useAction, useResource } from "../../api/resource";
import type { ModelVersion } from "../../api/types";
import { formatMoment } from "../../pure/format";
import { protocolLabel } from "../../pure/metrics";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { Empty, Loaded } from "../../ui/Loading";
import { ProblemNote } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { Quantity } from "../../ui/Quantity";
import { Table } from "../../ui/Table";
import { Alias } from "./Aliases";
import { headlineScore } from "./card_words";

/** Every published version of every model. */
export default function ModelsPage() {
  const models = useResource<ModelVersion[]>("models", (signal) =>
    getAll<ModelVersion>("/v1/models", signal),
  );
  useApiCalls([
    { title: "All published versions", method: "GET", path: "/v1/models" },
    { title: "Import a package", method: "POST", path: "/v1/models", form: { file: "@model.zip" } },
  ]);
  return (
    <>
      <PageHead
        title="Models"
        about="Published networks with their cards: data, licence, scores, calibration. A version never changes; an alias points at one."
      />
      <div class="stack">
        <Loaded of={models} what="models">
          {(found) =>
            found.length ? (
              <Versions models={found} />
            ) : (
              <Empty title="No model is published yet">
                <p>A benchmark publishes its models when it is done; or import a package.</p>
              </Empty>
            )
          }
        </Loaded>
        <Import />
      </div>
    </>
  );
}

function Versions({ models }: { models: readonly ModelVersion[] }) {
  return (
    <Table
      caption="Versions, newest first"
      captionHidden
      rows={models}
      keyOf={(m) => `${m.name}@${m.version}`}
      columns={[
        {
          title: "Model",
          cell: (m) => (
            <Link href={`/models/${encodeURIComponent(m.name)}/${encodeURIComponent(m.version)}`}>
              {m.name} <span style={{ fontWeight: 400 }}>{m.version}</span>
            </Link>
          ),
        },
        {
          title: "Called",
          cell: (m) =>
            m.aliases.length ? (
              m.aliases.map((alias) => <Alias key={alias} name={alias} />)
            ) : (
              <span class="soft">no alias</span>
            ),
        },
        {
          title: "Trained on",
          cell: ({ card }) => (
            <>
              {card.dataset} {card.synthetic ? <span class="badge warn">! synthetic</span> : null}
            </>
          ),
        },
        {
          title: "Dice, mean over classes",
          cell: ({ card }) => {
            const score = headlineScore(card);
            return (
              <>
                <Quantity
                  value={score?.mean}
                  unit=""
                  interval={score?.ci95 as [number, number] | null | undefined}
                />
                {score ? (
                  <div class="small soft">
                    {protocolLabel(score.protocol)}, {score.n_subjects} subjects
                  </div>
                ) : null}
              </>
            );
          },
        },
        { title: "Confidence", cell: ({ card }) => <span class="small">{card.calibration}</span> },
        { title: "Licence", cell: ({ card }) => <span class="small">{card.dataset_licence}</span> },
        { title: "Published", cell: (m) => <span class="small">{formatMoment(m.created_at)}</span> },
      ]}
    />
  );
}

function Import() {
  const [, navigate] = useLocation();
  const [file, setFile] = useState<File | null>(null);
  const input = useRef<HTMLInputElement>(null);
  const bring = useAction(async (chosen: File) => {
    const body = new FormData();
    body.append("file", chosen);
    const made = (await (await request("/v1/models", { method: "POST", body })).json()) as ModelVersion;
    navigate(`/models/${encodeURIComponent(made.name)}/${encodeURIComponent(made.version)}`);
  });
  return (
    <section class="card stack">
      <h2>Import a package</h2>
      <Field
        label="Package (zip)"
        hint="What another Intima exported: card, networks and their hashes. The same package again is the same version."
      >
        {(ids) => (
          <input
            {...ids}
            ref={input}
            type="file"
            accept=".zip,application/zip"
            onChange={(e) => setFile(e.currentTarget.files?.[0] ?? null)}
          />
        )}
      </Field>
      <div>
        <Button busy={bring.running} disabled={file === null} onClick={() => file && void bring.run(file)}>
          Import
        </Button>
      </div>
      <ProblemNote problem={bring.problem} />
    </section>
  );
}
