import { useJson } from "../../api/resource";
import type { ApiShape, Segmentation } from "../../api/types";
import { formatMoment, formatNumber, formatPercent, formatQuantity } from "../../pure/format";
import { Loaded } from "../../ui/Loading";
import { Swatch } from "../../ui/Swatch";
import { Table } from "../../ui/Table";

type Difference = ApiShape<"Difference">;
type Kind = ApiShape<"KindOfDifference">;

export interface ComparePanelProps {
  a: Segmentation;
  b: Segmentation | null;
  others: readonly Segmentation[];
  onB: (id: string | null) => void;
}

/** Choose a second segmentation, and see how far both agree. */
export function ComparePanel({ a, b, others, onB }: ComparePanelProps) {
  const usable = others.filter((s) => s.state === "succeeded" && s.id !== a.id);
  return (
    <div class="stack">
      <label class="field">
        <span class="label">Compare with</span>
        <select value={b?.id ?? ""} onChange={(e) => onB(e.currentTarget.value || null)}>
          <option value="">nothing: one window</option>
          {usable.map((s) => (
            <option key={s.id} value={s.id}>
              {nameOf(s)}
            </option>
          ))}
        </select>
      </label>
      {usable.length ? null : (
        <p class="soft">
          This slide has no other finished segmentation. Segment it again with another model.
        </p>
      )}
      {b ? <Agreement a={a} b={b} /> : null}
    </div>
  );
}

/** What a segmentation is called in a list. */
export function nameOf(s: Segmentation): string {
  const region = s.result?.region;
  const where = region ? `, region ${formatNumber(region.width)} × ${formatNumber(region.height)} px` : "";
  return `${s.model}${where}, ${formatMoment(s.created_at)}`;
}

function Agreement({ a, b }: { a: Segmentation; b: Segmentation }) {
  const found = useJson<Difference>(
    `/v1/segmentations/${encodeURIComponent(a.id)}/differences/${encodeURIComponent(b.id)}`,
  );
  if (found.data === null && found.problem?.code === "difference_in_making")
    return <p role="status">Counting the pixels of both masks; large ones take minutes …</p>;
  return (
    <Loaded of={found} what="the differences">
      {(difference) => (
        <>
          <p>
            A and B agree on <strong>{formatPercent(difference.agreeing_share, 3)}</strong> of all pixels
            (background included); mean Dice of the tissue classes{" "}
            <strong>
              {difference.mean_foreground_dice === null
                ? "not measured: neither has any"
                : formatNumber(difference.mean_foreground_dice)}
            </strong>
            . Agreement is no proof of being right: both may err alike.
          </p>
          <Classes difference={difference} />
          <Kinds difference={difference} />
          <Pairs difference={difference} />
        </>
      )}
    </Loaded>
  );
}

function Classes({ difference }: { difference: Difference }) {
  return (
    <Table
      caption="How far each class agrees"
      rows={difference.classes}
      keyOf={(c) => c.name}
      columns={[
        {
          title: "Class",
          cell: (c) => (
            <span class="row">
              <Swatch name={c.name} /> {c.name}
            </span>
          ),
        },
        { title: "Dice", number: true, cell: (c) => (c.dice === null ? "in neither" : formatNumber(c.dice)) },
        { title: "A", number: true, cell: (c) => area(c.area_a_um2, c.pixels_a) },
        { title: "B", number: true, cell: (c) => area(c.area_b_um2, c.pixels_b) },
      ]}
    />
  );
}

const KINDS: Record<Kind["kind"], string> = {
  only_a: "Tissue in A, background in B",
  only_b: "Tissue in B, background in A",
  other_class: "Both tissue, another class",
};

function Kinds({ difference }: { difference: Difference }) {
  return (
    <Table
      caption="The difference layer: key X"
      rows={difference.kinds}
      keyOf={(k) => k.kind}
      columns={[
        {
          title: "Shown as",
          cell: (k) => (
            <span class="row">
              <span class={`kind-mark ${k.kind}`} style={{ "--kind": k.color }} aria-hidden="true" />{" "}
              {KINDS[k.kind]}
            </span>
          ),
        },
        { title: "Area", number: true, cell: (k) => area(k.area_um2, k.pixels) },
      ]}
    />
  );
}

function Pairs({ difference }: { difference: Difference }) {
  if (!difference.pairs.length) return <p>Both masks are the same, pixel by pixel.</p>;
  return (
    <details>
      <summary>Which class became which</summary>
      <Table
        caption="Pixels by class in A and in B"
        captionHidden
        rows={difference.pairs}
        keyOf={(p) => `${p.a} ${p.b}`}
        columns={[
          { title: "In A", cell: (p) => p.a },
          { title: "In B", cell: (p) => p.b },
          { title: "Area", number: true, cell: (p) => area(p.area_um2, p.pixels) },
        ]}
      />
    </details>
  );
}

function area(um2: number | null, pixels: number): string {
  return um2 === null ? formatQuantity(pixels, "px") : formatQuantity(um2, "µm²");
}
