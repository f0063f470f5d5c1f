import { useState } from "preact/hooks";
import { download, getJson, sendJson } from "../../api/client";
import { FINAL_STATES, useJob } from "../../api/events";
import { useAction, useJson, useResource } from "../../api/resource";
import type { ApiShape, Benchmark, Job, Page } from "../../api/types";
import { formatMoment, formatNumber, formatPercent } from "../../pure/format";
import { protocolLabel } from "../../pure/metrics";
import { AuthorisedImage } from "../../ui/AuthorisedImage";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { Loaded } from "../../ui/Loading";
import { Notice, ProblemNote } from "../../ui/Notice";
import { JobProgress } from "../../ui/Progress";
import { StateBadge } from "../../ui/StateBadge";
import { Table } from "../../ui/Table";
import { useParameters } from "../../ui/url";
import { CaseLayers } from "./CaseLayers";

type View = ApiShape<"ExplanationView">;

/** Best and worst fold side by side, and five layers per case. */
export function Explaining({ benchmark, protocol }: { benchmark: Benchmark; protocol: string }) {
  const [url, setUrl] = useParameters();
  const shown = url.get("explanation");
  const known = useKnown(benchmark.id);
  const choose = (id: string) => {
    setUrl({ explanation: id });
    known.reload();
  };
  const latest = shown ?? known.data?.find((e) => e.request.protocol === protocol)?.id ?? null;
  return (
    <div class="stack">
      <p>
        Does the worst fold fail in a way that matters? An explanation takes the nets of two folds, shows
        where they err, how sure they were and what they looked at, and says what is left of the difference
        once borders drawn a few micrometres elsewhere count as right.
      </p>
      <Start benchmark={benchmark} protocol={protocol} onStarted={choose} />
      <ProblemNote problem={known.problem} />
      {known.data?.length ? (
        <div class="row small">
          <span class="soft">Explained before:</span>
          {known.data.map((e) => (
            <Button key={e.id} compact aria-pressed={e.id === latest} onClick={() => choose(e.id)}>
              {e.request.model}, {protocolLabel(e.request.protocol)}, folds {e.folds.join(" and ")} (
              {formatMoment(e.at)})
            </Button>
          ))}
        </div>
      ) : null}
      {latest ? <Shown key={latest} id={latest} /> : null}
    </div>
  );
}

const MOST_KNOWN = 6;

/** The newest explanations of a benchmark; there is no list of them, the list of jobs names them. */
function useKnown(benchmark: string) {
  return useResource<(View & { at: string })[]>(`explanations ${benchmark}`, async (signal) => {
    const newest = await getJson<Page<Job>>("/v1/jobs?page_size=200", signal);
    const jobs = newest.items.filter((j) => j.kind === "explanation");
    const found: (View & { at: string })[] = [];
    for (const job of jobs.slice(0, 20)) {
      const view = await getJson<View>(`/v1/explanations/${encodeURIComponent(job.id)}`, signal);
      if (view.benchmark === benchmark) found.push({ ...view, at: job.created_at });
      if (found.length === MOST_KNOWN) break;
    }
    return found;
  });
}

interface StartProps {
  benchmark: Benchmark;
  protocol: string;
  onStarted: (id: string) => void;
}

function Start({ benchmark, protocol, onStarted }: StartProps) {
  const models = benchmark.leaderboard.filter((e) => e.protocol === protocol).map((e) => e.model);
  const [model, setModel] = useState(models[0] ?? "");
  const [seed, setSeed] = useState(String(benchmark.spec.seeds[0] ?? 0));
  const start = useAction(async () => {
    const path = `/v1/benchmarks/${encodeURIComponent(benchmark.id)}/explanations`;
    const body = { model, protocol, seed: Number(seed) };
    onStarted((await sendJson<ApiShape<"ExplanationStarted">>("POST", path, body)).id);
  });
  return (
    <div class="card stack">
      <div class="row" style={{ alignItems: "end" }}>
        <Field label="Model">
          {(ids) => (
            <select {...ids} value={model} onChange={(e) => setModel(e.currentTarget.value)}>
              {models.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          )}
        </Field>
        {benchmark.spec.seeds.length > 1 ? (
          <Field label="Seed">
            {(ids) => (
              <select {...ids} value={seed} onChange={(e) => setSeed(e.currentTarget.value)}>
                {benchmark.spec.seeds.map((n) => (
                  <option key={n}>{n}</option>
                ))}
              </select>
            )}
          </Field>
        ) : null}
        <Button look="primary" busy={start.running} onClick={() => void start.run()}>
          Explain its best and worst fold
        </Button>
        <span class="soft small">Takes seconds to a minute per section.</span>
      </div>
      <ProblemNote problem={start.problem} />
    </div>
  );
}

function Shown({ id }: { id: string }) {
  const { job, problem } = useJob(id);
  const again = (view: View) => (FINAL_STATES.includes(view.state) ? null : 2000);
  const view = useJson<View>(`/v1/explanations/${encodeURIComponent(id)}`, { again });
  return (
    <>
      <ProblemNote problem={problem} />
      <Loaded of={view} what="the explanation">
        {(found) => (
          <div class="stack">
            <div class="row">
              <h2 style={{ margin: 0 }}>
                {found.request.model}, {protocolLabel(found.request.protocol)}
              </h2>
              <StateBadge state={found.state} />
              {job ? <span class="soft small">{formatMoment(job.created_at)}</span> : null}
            </div>
            {job && !FINAL_STATES.includes(job.state) ? (
              <JobProgress progress={job.progress} label="Progress of the explanation" />
            ) : null}
            {found.error ? (
              <Notice tone="bad" title="It failed">
                <p>{found.error.message}</p>
              </Notice>
            ) : null}
            {found.paradox ? <ParadoxCard paradox={found.paradox} files={found.paradox_files} /> : null}
            <Cases cases={found.cases} />
          </div>
        )}
      </Loaded>
    </>
  );
}

function ParadoxCard({ paradox, files }: { paradox: ApiShape<"Paradox">; files: View["paradox_files"] }) {
  const figure = files.find((f) => f.media_type === "image/png");
  const folds = [
    ["Best fold", paradox.best],
    ["Worst fold", paradox.worst],
  ] as const;
  const share = (value: number | null | undefined) =>
    value === null || value === undefined ? "not measured" : formatPercent(value);
  return (
    <section class="card stack">
      <h3>Best and worst fold</h3>
      <p style={{ fontSize: "1.1rem" }} data-testid="paradox">
        {paradox.explanation}
      </p>
      <Table
        caption={`Borders displaced by at most ${formatNumber(paradox.band)} ${paradox.unit} are forgiven`}
        rows={[...folds]}
        keyOf={([name]) => name}
        columns={[
          { title: "", cell: ([name, fold]) => `${name} (number ${fold.fold})` },
          { title: "Dice", number: true, cell: ([, fold]) => formatNumber(fold.dice) },
          {
            title: "Dice, borders forgiven",
            number: true,
            cell: ([, fold]) => formatNumber(fold.dice_forgiven),
          },
          {
            title: "Errors near a border",
            number: true,
            cell: ([, fold]) => share(fold.band_share),
          },
          {
            title: "Tissue wrong beyond borders",
            number: true,
            cell: ([, fold]) => share(fold.substance_share),
          },
          { title: "Sections", cell: ([, fold]) => fold.cases.map(shortCase).join(", ") },
        ]}
      />
      {figure ? (
        <div class="paper">
          <AuthorisedImage
            src={figure.url}
            alt={`Best fold beside worst fold. ${paradox.explanation}`}
            loading="lazy"
          />
        </div>
      ) : null}
    </section>
  );
}

function shortCase(name: string): string {
  return name.replace(/^.*\//, "").replace(/\.[a-z]+$/i, "");
}

function Cases({ cases }: { cases: View["cases"] }) {
  const [url, setUrl] = useParameters();
  const at = cases.find((c) => c.case === url.get("case")) ?? null;
  if (cases.length === 0) return null;
  return (
    <section class="card stack">
      <h3>Every section, in five layers</h3>
      <p class="soft">
        Error, uncertainty, attention, saliency, morphology. The maps say what moves a score; they do not say
        that a net is right.
      </p>
      <Table
        caption="Explained sections"
        captionHidden
        rows={cases}
        keyOf={(row) => row.case}
        columns={[
          { title: "Section", cell: (row) => shortCase(row.case) },
          { title: "Subject", cell: (row) => row.subject },
          { title: "Fold", number: true, cell: (row) => row.fold },
          {
            title: "Dice",
            number: true,
            cell: (row) => (row.dice === null ? "not measured" : formatNumber(row.dice)),
          },
          {
            title: "Explanation",
            cell: (row) => (
              <Button
                compact
                aria-pressed={at?.case === row.case}
                aria-label={`${at?.case === row.case ? "Hide" : "Show"} ${shortCase(row.case)}`}
                onClick={() => setUrl({ case: at?.case === row.case ? null : row.case })}
              >
                {at?.case === row.case ? "Hide" : "Show"}
              </Button>
            ),
          },
        ]}
      />
      {at ? <Case explained={at} /> : null}
    </section>
  );
}

function Case({ explained }: { explained: View["cases"][number] }) {
  const save = useAction((path: string, name: string) => download(path, name));
  const files = [explained.figure, explained.json_file, explained.prediction];
  return (
    <div class="stack">
      <h4 style={{ margin: 0 }}>{shortCase(explained.case)}</h4>
      <CaseLayers path={explained.json_file.url} />
      <div class="paper">
        <AuthorisedImage
          src={explained.figure.url}
          alt={`Five layers of ${explained.case}; the text says the same`}
        />
      </div>
      <div class="row small">
        {files.map((file) => (
          <Button key={file.name} compact onClick={() => void save.run(file.url, file.name)}>
            {file.name}
          </Button>
        ))}
      </div>
      <ProblemNote problem={save.problem} />
    </div>
  );
}
