import type { ApiShape } from "../../api/types";
import { formatNumber, formatQuantity } from "../../pure/format";
import { labelOf, sorted } from "../../pure/measures";
import { Notice, ProblemNote } from "../../ui/Notice";
import { Swatch } from "../../ui/Swatch";
import { Table } from "../../ui/Table";
import { Warnings } from "../../ui/Warnings";
import type { Preview, Session } from "./session";

type Vessel = ApiShape<"VesselMeasures">;

/** What the painted mask measures, beside the version one started from. */
export function LiveMeasures({ session, from }: { session: Session; from: string }) {
  const { preview, problem, measuring } = session;
  return (
    <div class="stack">
      <p class="small soft" role="status">
        {measuring ? "Measuring …" : preview ? `Compared with ${from}.` : ""}
      </p>
      <ProblemNote problem={problem} />
      {preview ? <Comparison preview={preview} said={session.changed === 0} /> : null}
    </div>
  );
}

/** Measures before and after, vessel by vessel. */
export function Comparison({ preview, said = false }: { preview: Preview; said?: boolean }) {
  return (
    <>
      {said ? null : <Warnings of={preview.warnings} />}
      {preview.needs_class.length ? (
        <Notice tone="warn" title={`${preview.needs_class.length} shapes need a class`}>
          <p class="small">
            They are left out:{" "}
            {preview.needs_class
              .map((n) => n.name || `feature ${n.feature} at ${n.x}, ${n.y}`)
              .slice(0, 10)
              .join("; ")}
            . Give them a class in QuPath and import again.
          </p>
        </Notice>
      ) : null}
      {preview.pairs.map((pair) => (
        <VesselChange
          key={`${pair.before} ${pair.after}`}
          before={preview.before.vessels.find((v) => v.vessel === pair.before) ?? null}
          after={preview.after.vessels.find((v) => v.vessel === pair.after) ?? null}
        />
      ))}
      {preview.pairs.length ? null : <p>No vessel: only the areas of the classes are measured.</p>}
      <Areas preview={preview} />
      <p class="small soft">
        No interval is stated: that of a model says nothing of what a person drew.
        {preview.measured_at === "working"
          ? " Measured at the model's resolution, before and after alike, as the slide is large; the saved version is measured at the slide's own."
          : ""}
      </p>
    </>
  );
}

function VesselChange({ before, after }: { before: Vessel | null; after: Vessel | null }) {
  const known = after ?? before;
  if (!known) return null;
  const title = !before ? "new" : !after ? "gone" : "";
  const [first, others] = sorted(known.measures);
  return (
    <section class="stack tight">
      <h2>
        Vessel {known.vessel} {title ? <span class="badge">{title}</span> : null}
      </h2>
      <Warnings of={after?.warnings ?? []} />
      <Changes caption={`Vessel ${known.vessel}, before and now`} {...{ before, after }} names={first} />
      <details>
        <summary>{others.length} more measures</summary>
        <Changes caption={`Vessel ${known.vessel}, further measures`} {...{ before, after }} names={others} />
      </details>
    </section>
  );
}

function Changes({
  caption,
  before,
  after,
  names,
}: {
  caption: string;
  before: Vessel | null;
  after: Vessel | null;
  names: readonly { name: string; unit: string }[];
}) {
  const valueIn = (vessel: Vessel | null, name: string) =>
    vessel?.measures.find((m) => m.name === name)?.value ?? null;
  return (
    <Table
      caption={caption}
      captionHidden
      rows={names}
      keyOf={(m) => m.name}
      columns={[
        { title: "Measure", cell: (m) => labelOf(m.name) },
        { title: "Before", number: true, cell: (m) => written(valueIn(before, m.name), m.unit) },
        { title: "Now", number: true, cell: (m) => written(valueIn(after, m.name), m.unit) },
        {
          title: "Change",
          number: true,
          cell: (m) => <Change before={valueIn(before, m.name)} after={valueIn(after, m.name)} />,
        },
      ]}
    />
  );
}

function Areas({ preview }: { preview: Preview }) {
  const before = Object.fromEntries(preview.before.areas.map((a) => [a.name, a]));
  const size = (a: ApiShape<"ClassArea"> | undefined) =>
    a ? (a.area_um2 === null ? formatQuantity(a.pixels, "px") : formatQuantity(a.area_um2, "µm²")) : "";
  return (
    <details>
      <summary>Areas of the classes</summary>
      <Table
        caption="Areas of the classes, before and now"
        captionHidden
        rows={preview.after.areas}
        keyOf={(a) => a.name}
        columns={[
          {
            title: "Class",
            cell: (a) => (
              <span class="row">
                <Swatch name={a.name} /> {a.name}
              </span>
            ),
          },
          { title: "Before", number: true, cell: (a) => size(before[a.name]) },
          { title: "Now", number: true, cell: (a) => size(a) },
          {
            title: "Change",
            number: true,
            cell: (a) => <Change before={before[a.name]?.pixels ?? null} after={a.pixels} />,
          },
        ]}
      />
    </details>
  );
}

function written(value: number | null, unit: string) {
  return value === null ? <span class="soft">not measured</span> : formatQuantity(value, unit);
}

function Change({ before, after }: { before: number | null; after: number | null }) {
  if (before === null || after === null) return <span class="soft">–</span>;
  if (before === after) return <span class="soft">same</span>;
  if (before === 0) return <strong>new</strong>;
  const percent = (100 * (after - before)) / Math.abs(before);
  return (
    <strong>
      {percent > 0 ? "+" : "−"}
      {formatNumber(Math.abs(percent), 2)}
      {"\u202f"}%
    </strong>
  );
}
