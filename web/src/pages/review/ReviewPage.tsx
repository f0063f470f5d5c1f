import { Link } from "wouter-preact";
import { useApiCalls } from "../../api/calls";
import { getAll, query } from "../../api/client";
import { useResource } from "../../api/resource";
import type { Segmentation, Slide } from "../../api/types";
import { formatMoment, formatNumber } from "../../pure/format";
import { ButtonLink } from "../../ui/Button";
import { Empty, Loaded } from "../../ui/Loading";
import { PageHead } from "../../ui/PageHead";
import { Table } from "../../ui/Table";
import { useParameters } from "../../ui/url";

/** The masks in the order in which a person should look at them: most expected error first. */
export default function ReviewPage() {
  const [parameters, set] = useParameters();
  const model = parameters.get("model") ?? "";
  const path = `/v1/segmentations${query({ order: "expected_error", model })}`;
  const list = useResource(path, (signal) => getAll<Segmentation>(path, signal, 200));
  const slides = useResource("slides", (signal) => getAll<Slide>("/v1/slides", signal, 1000));
  useApiCalls([{ title: "Masks by expected error", method: "GET", path }]);
  return (
    <>
      <PageHead
        title="Review queue"
        about="Masks in which most error is expected come first: those that need a person. What is not known comes last, with the reason. What a person has corrected is done, and not here."
      />
      <Loaded of={list} what="the masks">
        {(found) =>
          found.length ? (
            <div class="stack">
              <ModelChoice found={found} model={model} onModel={(name) => set({ model: name || null })} />
              <Queue found={found} slides={slides.data ?? []} />
            </div>
          ) : (
            <Empty title="Nothing to review">
              <p>There is no finished segmentation{model ? ` by ${model}` : ""} that nobody has corrected.</p>
              <ButtonLink href="/slides" look="primary">
                To the slides
              </ButtonLink>
            </Empty>
          )
        }
      </Loaded>
    </>
  );
}

function ModelChoice({
  found,
  model,
  onModel,
}: {
  found: readonly Segmentation[];
  model: string;
  onModel: (name: string) => void;
}) {
  const names = [...new Set([...found.map((s) => s.model), ...(model ? [model] : [])])].sort();
  return (
    <label class="row">
      Model
      <select value={model} onChange={(e) => onModel(e.currentTarget.value)}>
        <option value="">all</option>
        {names.map((name) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

function Queue({ found, slides }: { found: readonly Segmentation[]; slides: readonly Slide[] }) {
  const names = new Map(slides.map((s) => [s.id, s.name]));
  return (
    <Table
      caption="Masks, those with most expected error first"
      captionHidden
      rows={found}
      keyOf={(s) => s.id}
      columns={[
        {
          title: "Slide",
          cell: (s) => <Link href={`/slides/${s.slide}?seg=${s.id}`}>{names.get(s.slide) ?? s.slide}</Link>,
        },
        { title: "Look?", cell: (s) => <Verdict segmentation={s} /> },
        { title: "Expected Dice", number: true, cell: expectedDice },
        { title: "Why", cell: (s) => s.unranked ?? s.uncertainty?.review_reason ?? "" },
        {
          title: "Warnings",
          cell: (s) => {
            const number = s.measures.reduce((sum, v) => sum + v.warnings.length, 0);
            return number ? `${number} on the layers` : "none";
          },
        },
        {
          title: "Model",
          cell: (s) => (
            <>
              {s.model}
              <br />
              <span class="small soft">{formatMoment(s.created_at)}</span>
            </>
          ),
        },
        {
          title: "Do",
          cell: (s) => (
            <ButtonLink compact href={`/slides/${s.slide}/correct/${s.id}`}>
              Correct
            </ButtonLink>
          ),
        },
      ]}
    />
  );
}

function Verdict({ segmentation }: { segmentation: Segmentation }) {
  const review = segmentation.uncertainty?.review;
  if (review === true) return <span class="badge warn">! look at it</span>;
  if (review === false) return <span class="badge good">✓ as usual</span>;
  return <span class="badge">? not known</span>;
}

/** The Dice with the truth that the probabilities expect, over all tissue, and the worst class. */
function expectedDice(s: Segmentation) {
  const all = s.uncertainty?.expected_foreground_dice;
  if (all === null || all === undefined) return <span class="soft">not measured</span>;
  const classes = Object.entries(s.uncertainty?.expected_dice ?? {}).filter(
    (entry): entry is [string, number] => entry[1] !== null,
  );
  const worst = classes.sort((x, y) => x[1] - y[1])[0];
  return (
    <>
      {formatNumber(all)}
      {worst ? (
        <>
          <br />
          <span class="small soft">
            {worst[0]} {formatNumber(worst[1])}
          </span>
        </>
      ) : null}
    </>
  );
}
