import type { ApiShape, Segmentation } from "../../api/types";
import { formatPercent } from "../../pure/format";
import { labelOf, sorted, worded } from "../../pure/measures";
import { Notice } from "../../ui/Notice";
import { Quantity } from "../../ui/Quantity";
import { Swatch } from "../../ui/Swatch";
import { Table } from "../../ui/Table";
import { ThicknessPlot } from "./ThicknessPlot";

type Vessel = ApiShape<"VesselMeasures">;
type Measure = ApiShape<"Measure">;

export interface MeasuresPanelProps {
  segmentation: Segmentation;
  /** Number of the vessel that is looked at. */
  vessel: number;
  onVessel: (number: number) => void;
  angle: number | null;
  onAngle: (angle: number | null) => void;
}

/** What was measured: warnings first, then each vessel with intervals, and the thickness around it. */
export function MeasuresPanel({ segmentation, vessel, onVessel, angle, onAngle }: MeasuresPanelProps) {
  const { result } = segmentation;
  const shown = segmentation.measures.find((v) => v.vessel === vessel) ?? segmentation.measures[0];
  return (
    <div class="stack">
      <Warnings texts={result?.warnings ?? []} title="Read this before the numbers" />
      <Review segmentation={segmentation} />
      {shown ? (
        <>
          {segmentation.measures.length > 1 ? (
            <label class="row">
              Vessel
              <select value={shown.vessel} onChange={(e) => onVessel(Number(e.currentTarget.value))}>
                {segmentation.measures.map((v) => (
                  <option key={v.vessel} value={v.vessel}>
                    {v.vessel} of {segmentation.measures.length}
                    {v.warnings.length ? " (with warnings)" : ""}
                  </option>
                ))}
              </select>
            </label>
          ) : null}
          <Warnings texts={shown.warnings} title={`Vessel ${shown.vessel}: read with care`} />
          <VesselTable vessel={shown} />
          <p class="small soft">In brackets: {result?.interval_basis ?? "no interval"}.</p>
          <ThicknessPlot segmentation={segmentation} vessel={shown.vessel} angle={angle} onAngle={onAngle} />
        </>
      ) : (
        <Notice tone="warn" title="No vessel was measured">
          <p>No closed vessel with a lumen was found in this mask. The areas of the classes stand below.</p>
        </Notice>
      )}
      <ClassAreas segmentation={segmentation} />
    </div>
  );
}

function Warnings({ texts, title }: { texts: readonly string[]; title: string }) {
  if (!texts.length) return null;
  return (
    <Notice tone="warn" title={title}>
      <ul class="plain">
        {texts.map((text) => (
          <li key={text}>
            <WarningText text={text} />
          </li>
        ))}
      </ul>
    </Notice>
  );
}

function WarningText({ text }: { text: string }) {
  const warning = worded(text);
  if (!warning.measures.length) return <>{warning.text}</>;
  return (
    <details>
      <summary>
        {warning.text}: {warning.measures.length} measures
      </summary>
      {warning.measures.join("; ")}
    </details>
  );
}

function Review({ segmentation }: { segmentation: Segmentation }) {
  const found = segmentation.uncertainty;
  if (!found || found.review === null || found.review === undefined) return null;
  return (
    <Notice
      tone={found.review ? "warn" : "good"}
      title={found.review ? "A person should look at this mask" : "No more doubt than usual"}
    >
      <p class="small">{found.review_reason}</p>
    </Notice>
  );
}

function VesselTable({ vessel }: { vessel: Vessel }) {
  const [first, others] = sorted(vessel.measures);
  return (
    <>
      <MeasureTable caption={`Measures of vessel ${vessel.vessel}`} measures={first} />
      {others.length ? (
        <details>
          <summary>{others.length} more measures</summary>
          <MeasureTable caption={`Further measures of vessel ${vessel.vessel}`} measures={others} />
        </details>
      ) : null}
    </>
  );
}

function MeasureTable({ caption, measures }: { caption: string; measures: readonly Measure[] }) {
  return (
    <Table
      caption={caption}
      captionHidden
      rows={measures}
      keyOf={(m) => m.name}
      columns={[
        { title: "Measure", cell: (m) => labelOf(m.name) },
        {
          title: "Value (interval)",
          number: true,
          cell: (m) => <Quantity value={m.value} unit={m.unit} interval={m.interval} />,
        },
      ]}
    />
  );
}

function ClassAreas({ segmentation }: { segmentation: Segmentation }) {
  return (
    <details open={!segmentation.measures.length}>
      <summary>Areas of the classes</summary>
      <Table
        caption="Areas of the classes over the whole mask"
        captionHidden
        rows={segmentation.areas}
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
          {
            title: "Area",
            number: true,
            cell: (a) =>
              a.area_um2 === null ? (
                <Quantity value={a.pixels} unit="px" />
              ) : (
                <Quantity value={a.area_um2} unit="µm²" />
              ),
          },
          { title: "Share", number: true, cell: (a) => formatPercent(a.fraction) },
        ]}
      />
    </details>
  );
}
