import { useMemo } from "preact/hooks";
import { useApiCalls } from "../../api/calls";
import { useJson } from "../../api/resource";
import type { Dataset } from "../../api/types";
import { count, formatNumber } from "../../pure/format";
import { Button, ButtonLink } from "../../ui/Button";
import { CasePair } from "../../ui/CasePair";
import { CasePicture, casePath, type StoredCase } from "../../ui/CasePicture";
import { Loaded } from "../../ui/Loading";
import { Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import type { PageProps } from "../../ui/page_routes";
import { useParameters } from "../../ui/url";

const SUBJECTS_AT_ONCE = 20;

/** One data set: what it is, its images with their masks by subject, and which show the same tissue. */
export default function DatasetPage({ parameters }: PageProps) {
  const id = parameters.id ?? "";
  const path = `/v1/datasets/${encodeURIComponent(id)}`;
  const dataset = useJson<Dataset>(path);
  const first = dataset.data?.cases[0];
  useApiCalls([
    { title: "The data set", method: "GET", path },
    ...(first
      ? [
          {
            title: "The image of a case",
            method: "GET" as const,
            path: `${casePath(id, first, "image.jpeg")}?px=512`,
            saveAs: "image.jpeg",
          },
          {
            title: "Its mask in the colours of the classes",
            method: "GET" as const,
            path: `${casePath(id, first, "mask.png")}?px=512`,
            saveAs: "mask.png",
          },
        ]
      : []),
  ]);
  return (
    <>
      <PageHead
        title={dataset.data?.name ?? "Data set"}
        about={
          dataset.data
            ? `${count(dataset.data.cases.length, "image")} of ${count(subjectsOf(dataset.data).length, "subject")}`
            : null
        }
      >
        <ButtonLink look="primary" href={`/benchmarks/new?dataset=${encodeURIComponent(id)}`}>
          Benchmark models on it
        </ButtonLink>
      </PageHead>
      <Loaded of={dataset} what="the data set">
        {(shown) => (
          <div class="stack">
            <Facts dataset={shown} />
            <Likeness dataset={shown} />
            <Cases dataset={shown} />
          </div>
        )}
      </Loaded>
    </>
  );
}

function subjectsOf(dataset: Dataset): [string, StoredCase[]][] {
  const by = new Map<string, StoredCase[]>();
  for (const found of dataset.cases) by.set(found.subject, [...(by.get(found.subject) ?? []), found]);
  return [...by];
}

function Facts({ dataset }: { dataset: Dataset }) {
  const sizes = dataset.cases.filter((c) => c.mpp === null).length;
  return (
    <section class="card" aria-label="About it">
      <dl class="row" style={{ gap: "0.5rem 2rem", alignItems: "start" }}>
        <div>
          <dt>Classes</dt>
          <dd class="row">
            {dataset.classes.map((c) => (
              <span key={c.index} class="row" style={{ gap: "0.3rem" }}>
                <span
                  class="swatch"
                  aria-hidden="true"
                  style={{ background: c.color, color: c.index ? "#000" : "#fff" }}
                >
                  {c.index}
                </span>
                {c.name}
              </span>
            ))}
          </dd>
        </div>
        <div>
          <dt>Licence</dt>
          <dd>{dataset.licence}</dd>
        </div>
        <div>
          <dt>Pixel size</dt>
          <dd>
            {sizes
              ? `${count(sizes, "image")} without: lengths of these are scored in pixels`
              : `${range(dataset.cases.map((c) => c.mpp ?? 0))} µm per pixel`}
          </dd>
        </div>
        <div>
          <dt>Version</dt>
          <dd class="mono" title={dataset.version}>
            {dataset.version.slice(0, 12)}
          </dd>
        </div>
      </dl>
    </section>
  );
}

function range(values: number[]): string {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return low === high ? formatNumber(low) : `${formatNumber(low)} to ${formatNumber(high)}`;
}

function Likeness({ dataset }: { dataset: Dataset }) {
  const found = dataset.similarity;
  if (!found)
    return (
      <Notice tone="warn" title="Its images were never compared">
        <p>
          It was stored before images of different subjects were compared, so nobody knows whether two show
          the same tissue. Upload the same zip again: it keeps its address and gains the comparison.
        </p>
      </Notice>
    );
  const searched = found.overlaps_searched
    ? "copies and overlapping fields of view"
    : "copies; overlaps were not looked for, there are too many pairs";
  if (!found.pairs.length)
    return (
      <p class="soft">
        No two subjects show the same tissue: {count(found.compared, "pair")} of images compared for{" "}
        {searched}.
      </p>
    );
  return (
    <section class="stack" aria-labelledby="likeness">
      <h2 id="likeness">{count(found.pairs.length, "pair")} of two subjects that show the same tissue</h2>
      <p class="soft">
        A model that has trained on one has seen the other: a benchmark that divides them is refused. (
        {count(found.compared, "pair")} compared for {searched}.)
      </p>
      <div class="grid">
        {found.pairs.slice(0, 50).map((pair) => (
          <CasePair
            key={`${pair.a} ${pair.b}`}
            a={pair.a}
            b={pair.b}
            kind={pair.kind}
            alike={pair}
            datasetA={dataset}
            datasetB={dataset}
          />
        ))}
      </div>
      {found.pairs.length > 50 ? <p>{found.pairs.length - 50} more are in the API's answer.</p> : null}
    </section>
  );
}

function Cases({ dataset }: { dataset: Dataset }) {
  const [parameters, set] = useParameters();
  const masked = parameters.get("mask") !== "off";
  const subjects = useMemo(() => subjectsOf(dataset), [dataset]);
  const shown = Math.max(SUBJECTS_AT_ONCE, Number(parameters.get("subjects")) || 0);
  return (
    <section class="stack" aria-labelledby="cases">
      <div class="row">
        <h2 id="cases" style={{ margin: 0 }}>
          Images by subject
        </h2>
        <label class="row">
          <input
            type="checkbox"
            checked={masked}
            onChange={(event) => set({ mask: event.currentTarget.checked ? null : "off" })}
          />
          with their masks
        </label>
      </div>
      <div class="subjects">
        {subjects.slice(0, shown).map(([subject, cases]) => (
          <section key={subject} class="card stack" aria-label={subject}>
            <h3>
              {subject} <span class="soft small">{count(cases.length, "image")}</span>
            </h3>
            <div class="row" style={{ alignItems: "start" }}>
              {cases.map((c) => (
                <CaseFigure key={c.case} dataset={dataset.id} of={c} masked={masked} />
              ))}
            </div>
          </section>
        ))}
      </div>
      {subjects.length > shown ? (
        <div>
          <Button onClick={() => set({ subjects: String(shown + SUBJECTS_AT_ONCE) })}>
            Show more of {count(subjects.length, "subject")}
          </Button>
        </div>
      ) : null}
    </section>
  );
}

function CaseFigure({ dataset, of, masked }: { dataset: string; of: StoredCase; masked: boolean }) {
  return (
    <figure class="case-figure">
      <CasePicture dataset={dataset} of={of} mask={masked ? 0.55 : 0} />
      <figcaption>
        {of.case}
        <br />
        <span class="soft">
          {of.width} × {of.height} px,{" "}
          {of.mpp === null ? "pixel size not stated" : `${formatNumber(of.mpp)} µm/px`}
          {of.block ? `, block ${of.block}` : ""}
          {of.section ? `, ${of.section}` : ""}
        </span>
      </figcaption>
    </figure>
  );
}
