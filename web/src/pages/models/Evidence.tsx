import * as Plot from "@observablehq/plot";
import { useMemo } from "preact/hooks";
import type { ApiShape } from "../../api/types";
import { Chart } from "../../charts/Chart";
import { asWords, count, formatNumber, formatPercent } from "../../pure/format";
import { protocolLabel } from "../../pure/metrics";
import { Field } from "../../ui/Field";
import { Notice } from "../../ui/Notice";
import { Quantity } from "../../ui/Quantity";
import { Table } from "../../ui/Table";
import { useParameters } from "../../ui/url";
import { figureLabel, groupLabel, reliabilityPoints, residualText } from "./card_words";

type Found = ApiShape<"OutOfFoldEvidence">;

/** What held-out cases say of the model's confidence and of its measures. */
export function Evidence({ evidence, line }: { evidence: Found | null; line: string }) {
  if (!evidence)
    return (
      <section class="card">
        <h2>Can its confidence be believed?</h2>
        <p>{line || "Not measured."}</p>
      </section>
    );
  return (
    <section class="card stack">
      <h2>Can its confidence be believed?</h2>
      <p style={{ fontSize: "1.1rem" }}>{line}</p>
      <p>
        Measured on {count(evidence.cases, "section")} of {count(evidence.subjects, "subject")} that the
        networks had not been trained on ({evidence.basis}
        {evidence.protocol ? `, ${protocolLabel(evidence.protocol)}` : ""}
        {evidence.dataset ? `, ${evidence.dataset}` : ""}); {evidence.vessels_found} of {evidence.vessels}{" "}
        vessels were found. {count(evidence.members, "network")} a section, {count(evidence.passes, "view")}{" "}
        each. It holds for sections like these, and not for others.
      </p>
      {evidence.selection_biased ? (
        <Notice tone="warn" title="Too good">
          <p>A search has seen these cases, so all of this is optimistic.</p>
        </Notice>
      ) : null}
      <p>
        Temperature {formatNumber(evidence.temperature.value)}: {evidence.temperature.reason}.{" "}
        {evidence.temperature.value < 1
          ? "The networks are less sure than they could be."
          : evidence.temperature.value > 1
            ? "The networks are surer than they should be."
            : ""}{" "}
        A mask is marked for review below an expected Dice of {formatNumber(evidence.review.threshold)} (
        {evidence.review.basis}).
      </p>
      <Reliability evidence={evidence} />
      <Calibration evidence={evidence} />
      <Residuals evidence={evidence} />
      <Margins evidence={evidence} />
    </section>
  );
}

function Reliability({ evidence }: { evidence: Found }) {
  const [url, setUrl] = useParameters();
  const groups = [...new Set(evidence.reliability.map((r) => r.group))];
  const wanted = url.get("pixels") ?? "foreground";
  const group = groups.includes(wanted) ? wanted : (groups[0] ?? "");
  const diagrams = useMemo(
    () =>
      evidence.reliability
        .filter((r) => r.group === group)
        .map((r) => ({
          name:
            r.temperature === 1
              ? "as the network says it"
              : `after temperature ${formatNumber(r.temperature)}`,
          before: r.temperature === 1,
          points: reliabilityPoints(r.bins),
        })),
    [evidence, group],
  );
  const options = useMemo<Plot.PlotOptions>(
    () => ({
      height: 320,
      marginRight: 20,
      marginBottom: 45,
      x: { domain: [0, 1], label: "Stated confidence", tickFormat: "%" },
      y: { domain: [0, 1], label: "Really right", tickFormat: "%", grid: true },
      r: { range: [2, 12] },
      marks: [
        Plot.line(
          [
            [0, 0],
            [1, 1],
          ],
          { stroke: "currentColor", strokeDasharray: "3,4" },
        ),
        ...diagrams.flatMap(({ points, before }) => [
          Plot.line(points, {
            x: "confidence",
            y: "right",
            stroke: before ? "var(--series-2)" : "var(--series-1)",
            strokeDasharray: before ? "6,4" : "",
          }),
          Plot.dot(points, {
            x: "confidence",
            y: "right",
            r: 4,
            symbol: before ? "square" : "circle",
            fill: before ? "none" : "var(--series-1)",
            stroke: before ? "var(--series-2)" : "var(--series-1)",
          }),
        ]),
      ],
    }),
    [diagrams],
  );
  if (groups.length === 0) return null;
  return (
    <div class="stack">
      <h3>When it says 80 %, is it right in 80 %?</h3>
      <Field label="Pixels">
        {(ids) => (
          <select
            {...ids}
            style={{ width: "fit-content" }}
            value={group}
            onChange={(e) => setUrl({ pixels: e.currentTarget.value })}
          >
            {groups.map((name) => (
              <option key={name} value={name}>
                {groupLabel(name)}
              </option>
            ))}
          </select>
        )}
      </Field>
      <div style={{ maxWidth: "40rem" }}>
        <Chart
          caption={`On the dotted line confidence is honest; above it the model is better than it says, below it worse. ${diagrams.map((d) => `${d.before ? "Squares, dashed" : "Discs"}: ${d.name}.`).join(" ")}`}
          options={options}
          table={
            <Table
              caption={`Confidence and truth, ${groupLabel(group)}`}
              rows={diagrams.flatMap((d) => d.points.map((p) => ({ ...p, name: d.name })))}
              keyOf={(row) => `${row.name} ${row.confidence}`}
              columns={[
                { title: "Version", cell: (row) => row.name },
                { title: "Stated", number: true, cell: (row) => formatPercent(row.confidence, 3) },
                { title: "Right", number: true, cell: (row) => formatPercent(row.right, 3) },
                { title: "Pixels", number: true, cell: (row) => formatNumber(row.pixels, 9) },
              ]}
            />
          }
        />
      </div>
    </div>
  );
}

function Calibration({ evidence }: { evidence: Found }) {
  return (
    <details>
      <summary>Calibration, and finding errors, in numbers</summary>
      <Table
        caption="Means over subjects with 95 % intervals; after: each subject at the temperature fitted to the others"
        rows={evidence.calibration}
        keyOf={(row) => row.name}
        columns={[
          { title: "Figure", cell: (row) => figureLabel(row.name) },
          { title: "As the network says it", number: true, cell: (row) => <Mean of={row.before} /> },
          {
            title: "After temperature",
            number: true,
            cell: (row) => (row.after ? <Mean of={row.after} /> : "not fitted"),
          },
        ]}
      />
    </details>
  );
}

function Mean({ of }: { of: ApiShape<"Figure"> }) {
  return <Quantity value={of.mean} unit="" interval={of.ci95 as [number, number] | null} />;
}

function Residuals({ evidence }: { evidence: Found }) {
  if (evidence.residuals.length === 0) return null;
  return (
    <details>
      <summary>Errors of measures, which make the prediction intervals</summary>
      <Table
        caption="Predicted against true on held-out sections"
        rows={evidence.residuals}
        keyOf={(row) => row.name}
        columns={[
          { title: "Measure", cell: (row) => asWords(row.name) },
          { title: "Error", cell: (row) => residualText(row) },
          { title: "Subjects", number: true, cell: (row) => row.subjects },
          { title: "Sections", number: true, cell: (row) => row.sections },
        ]}
      />
    </details>
  );
}

function Margins({ evidence }: { evidence: Found }) {
  if (evidence.margins.length === 0) return null;
  return (
    <details>
      <summary>How far to widen a mask to be safe</summary>
      <Table
        caption="Widening that covers 99 % of the truth of a new subject"
        rows={evidence.margins}
        keyOf={(row) => row.target + row.alpha}
        columns={[
          { title: "Of", cell: (row) => row.target.replace("class:", "") },
          { title: "With probability", number: true, cell: (row) => formatPercent(1 - row.alpha) },
          {
            title: "Widen by",
            cell: (row) => (
              <Quantity
                value={row.margin}
                unit={row.unit}
                reason={row.margin === null ? row.reason : undefined}
              />
            ),
          },
          { title: "Subjects", number: true, cell: (row) => row.subjects },
        ]}
      />
    </details>
  );
}
