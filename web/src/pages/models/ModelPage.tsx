import { Link } from "wouter-preact";
import { useApiCalls } from "../../api/calls";
import { download } from "../../api/client";
import { useAction, useJson } from "../../api/resource";
import type { ModelVersion } from "../../api/types";
import { count, formatBytes, formatMoment, formatNumber, formatPercent } from "../../pure/format";
import { protocolLabel, scoreLabel } from "../../pure/metrics";
import { Button, ButtonLink } from "../../ui/Button";
import { Loaded } from "../../ui/Loading";
import { Notice, ProblemNote } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import type { PageProps } from "../../ui/page_routes";
import { Quantity } from "../../ui/Quantity";
import { Swatch } from "../../ui/Swatch";
import { Table } from "../../ui/Table";
import { Aliases } from "./Aliases";
import { cautions, equivalenceText } from "./card_words";
import { Evidence } from "./Evidence";
import { MeasureEvidence } from "./MeasureEvidence";

type Card = ModelVersion["card"];

/** A model's card: what it is, what it was trained on, and how much of it can be believed. */
export default function ModelPage({ parameters }: PageProps) {
  const name = encodeURIComponent(parameters.name ?? "");
  const path = `/v1/models/${name}/versions/${encodeURIComponent(parameters.version ?? "")}`;
  const model = useJson<ModelVersion>(path);
  useApiCalls([
    { title: "The card", method: "GET", path },
    { title: "The package", method: "GET", path: `${path}/package`, saveAs: "model.zip" },
    {
      title: "Point an alias at this version",
      method: "PUT",
      path: `/v1/models/${name}/aliases/production`,
      body: { version: parameters.version },
    },
    {
      title: "Measure it on your own labelled sections",
      method: "POST",
      path: `${path}/evidence`,
      body: { dataset: "dst_..." },
    },
  ]);
  return (
    <Loaded of={model} what="the card">
      {(found) => <Model model={found} path={path} onChanged={model.reload} />}
    </Loaded>
  );
}

interface ModelProps {
  model: ModelVersion;
  path: string;
  onChanged: () => void;
}

function Model({ model, path, onChanged }: ModelProps) {
  const { card } = model;
  const save = useAction(() => download(`${path}/package`, `${model.name}-${model.version}.zip`));
  return (
    <>
      <PageHead
        title={`${model.name} ${model.version}`}
        about={`${card.architecture.name} with ${card.architecture.encoder}, ${count(card.members.length, "network")} · published ${formatMoment(model.created_at)}`}
      >
        {card.benchmark ? (
          <ButtonLink href={`/benchmarks/${card.benchmark}/results`}>Results of its benchmark</ButtonLink>
        ) : null}
        <Button busy={save.running} onClick={() => void save.run()}>
          Download package
        </Button>
        <ButtonLink href="/slides" look="primary">
          Segment slides
        </ButtonLink>
      </PageHead>
      <div class="stack">
        <ProblemNote problem={save.problem} />
        {cautions(card).map((caution) => (
          <Notice key={caution.title} tone={caution.tone} title={caution.title}>
            <p>{caution.text}</p>
          </Notice>
        ))}
        <div class="grid">
          <About card={card} />
          <Scores card={card} />
          <Aliases model={model} onChanged={onChanged} />
        </div>
        <Variants card={card} />
        <Evidence evidence={card.evidence ?? null} line={card.calibration} />
        <MeasureEvidence model={model} />
      </div>
    </>
  );
}

function About({ card }: { card: Card }) {
  const lines: [string, preact.ComponentChildren][] = [
    ["Data", `${card.dataset} (${card.dataset_licence})`],
    [
      "Classes",
      card.classes.map((c) => (
        <span key={c.name} style={{ whiteSpace: "nowrap", marginRight: "0.6rem" }}>
          <Swatch name={c.name} /> {c.name}
        </span>
      )),
    ],
    [
      "Pixel size it works at",
      card.mpp === null ? "unknown: data without a pixel size" : `${formatNumber(card.mpp)} µm/px`,
    ],
    ["Encoder started from", card.encoder_weights],
    ["Licence of those weights", card.weights_licence],
    ["Parameters", formatNumber(card.parameter_count)],
    [
      "Work per tile, all networks",
      card.cost
        ? `${formatNumber(card.cost.flops / 1e9)} GFLOP, at most ${formatBytes(card.cost.peak_memory_bytes)} at once`
        : "not measured",
    ],
    ["Tiles", `${card.tile_px} px with ${card.halo_px} px around`],
    ["Made by", `Intima ${card.intima_version}`],
    ["Copies between images", imageComparison(card)],
    ["Notes", card.notes || "none"],
  ];
  return (
    <section class="card">
      <h2>What it is</h2>
      <dl>
        {lines.map(([name, value]) => (
          <div key={name}>
            <dt class="small">{name}</dt>
            <dd style={{ overflowWrap: "anywhere" }}>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

function imageComparison(card: Card): string {
  const words = {
    copies_and_overlaps: "searched for copies and overlaps before training",
    copies: "searched for copies before training, not for overlaps",
    none: "not searched for",
  };
  return card.image_comparison
    ? words[card.image_comparison]
    : "not known: an earlier version, or no benchmark";
}

function Scores({ card }: { card: Card }) {
  if (card.scores.length === 0)
    return (
      <section class="card">
        <h2>Scores</h2>
        <p>Not measured: no benchmark published it.</p>
      </section>
    );
  return (
    <section class="card stack">
      <h2>Scores</h2>
      <p class="small soft">
        Of the recipe: nets trained on folds, tested on subjects they had not seen. In brackets 95 % intervals
        over subjects. <Link href="/compare">Compare it</Link> before you call it better.
      </p>
      <Table
        caption="Scores"
        captionHidden
        rows={card.scores}
        keyOf={(row) => `${row.protocol} ${row.metric}`}
        columns={[
          {
            title: "Score",
            cell: (row) => {
              const [metric, className] = row.metric.split("/");
              return scoreLabel(metric ?? "", className ?? "macro");
            },
          },
          {
            title: "Mean",
            cell: (row) => (
              <Quantity
                value={row.mean}
                unit={unitOf(row.metric)}
                interval={row.ci95 as [number, number] | null}
              />
            ),
          },
          {
            title: "How",
            cell: (row) => (
              <span class="small">
                {protocolLabel(row.protocol)}, {count(row.n_subjects, "subject")}
                {row.selection_biased ? "; a search has seen these subjects: too good" : ""}
              </span>
            ),
          },
        ]}
      />
    </section>
  );
}

/** Scores of a card carry no unit of their own; lengths are in µm where the model has a pixel size. */
function unitOf(metric: string): string {
  if (metric.startsWith("hd95")) return "µm";
  return metric.startsWith("stenosis_error") ? "%" : "";
}

function Variants({ card }: { card: Card }) {
  const variants = card.variants;
  const latency = (precision: string) => {
    const found = card.latency.find((l) => l.precision === precision);
    return found
      ? `${formatNumber(found.median_ms)}\u202fms (${found.provider.replace("ExecutionProvider", "")}, ${count(found.threads, "thread")})`
      : "not measured";
  };
  if (variants.length === 0)
    return (
      <section class="card">
        <h2>Precisions</h2>
        <p>
          32-bit only. Its networks differ from those that were trained by at most{" "}
          {formatNumber(card.parity_max_abs)} in a logit.
        </p>
      </section>
    );
  return (
    <section class="card stack">
      <h2>Precisions</h2>
      <p class="soft">
        Smaller numbers are faster. Each is compared with the network that was trained: pixel by pixel, in
        areas, and in Dice over subjects.
      </p>
      <Table
        caption="Precisions"
        captionHidden
        rows={variants}
        keyOf={(row) => row.precision}
        columns={[
          { title: "Precision", cell: (row) => row.precision },
          {
            title: "Size",
            number: true,
            cell: (row) => formatBytes(row.members.reduce((sum, m) => sum + m.bytes, 0)),
          },
          { title: "Time per tile", number: true, cell: (row) => latency(row.precision) },
          {
            title: "Same pixels",
            number: true,
            cell: (row) => formatPercent(row.parity.argmax_agreement, 5),
          },
          {
            title: "Largest change of an area",
            number: true,
            cell: (row) => {
              const changes = Object.values(row.parity.area_change).filter((v): v is number => v !== null);
              return changes.length ? formatPercent(Math.max(...changes.map(Math.abs))) : "not measured";
            },
          },
          {
            title: "Dice against full precision",
            cell: (row) =>
              row.precision === "fp32" ? "the reference" : equivalenceText(row.equivalence ?? null),
          },
        ]}
      />
      {card.left_out.map((left) => (
        <p key={left.precision} class="small">
          {left.precision} was left out: {left.reason}
        </p>
      ))}
    </section>
  );
}
