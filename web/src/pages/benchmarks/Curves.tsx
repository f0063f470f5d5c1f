import * as Plot from "@observablehq/plot";
import { useMemo } from "preact/hooks";
import type { Benchmark } from "../../api/types";
import { Chart } from "../../charts/Chart";
import { SeriesLegend, seriesColor, seriesDash, seriesSymbol } from "../../charts/series";
import { lossLines, trialPoints, unitInWords } from "../../pure/board";
import { formatNumber } from "../../pure/format";
import { Table } from "../../ui/Table";
import type { Training } from "./BoardPage";

const LOSS_RUNS = 2;
const HEIGHT = 260;
const MOST_TABLE = 200;

/** Inner scores by trial and training losses by step, one colour and mark for each contender. */
export function Curves({ rows, benchmark }: { rows: readonly Training[]; benchmark: Benchmark }) {
  const known = [...new Set(rows.map((r) => r.model))];
  const names = known.length ? known : benchmark.spec.architectures.map((a) => a.label ?? a.name);
  return (
    <section class="stack" aria-labelledby="curves">
      <div class="row">
        <h2 id="curves" style={{ margin: 0 }}>
          Curves
        </h2>
        <SeriesLegend names={names} />
      </div>
      <div class="board-charts">
        <Scores rows={rows} names={names} />
        <Losses rows={rows} names={names} />
      </div>
    </section>
  );
}

interface CurveProps {
  rows: readonly Training[];
  names: readonly string[];
}

function Scores({ rows, names }: CurveProps) {
  const points = trialPoints(rows);
  const key = JSON.stringify([points, names]);
  const options = useMemo<Plot.PlotOptions>(() => {
    const [shown, order] = JSON.parse(key) as [typeof points, string[]];
    return {
      height: HEIGHT,
      marginLeft: 48,
      marginBottom: 42,
      x: { label: "Trial, in the order of the plan", labelOffset: 36, tickFormat: "d", interval: 1 },
      y: { label: "Inner score (mean Dice)", grid: true, nice: true },
      marks: order.flatMap((name, n) => {
        const mine = shown.filter((p) => p.contender === name);
        return [
          Plot.lineY(mine, { x: "place", y: "value", stroke: seriesColor(n), strokeOpacity: 0.35 }),
          Plot.dot(mine, {
            x: "place",
            y: "value",
            stroke: seriesColor(n),
            fill: "var(--surface)",
            strokeWidth: 1.8,
            symbol: seriesSymbol(n),
            title: (p: (typeof points)[number]) => `${unitInWords(p.unit)}: ${formatNumber(p.value)}`,
          }),
        ];
      }),
    };
  }, [key]);
  if (!points.length) return <p class="card soft">No trial has a score yet.</p>;
  return (
    <div class="card">
      <Chart
        caption="Inner scores of the trials. Each search chooses its best; these scores flatter and rank no contender."
        options={options}
        table={
          <Table
            caption="Inner scores"
            captionHidden
            rows={points.slice(-MOST_TABLE)}
            keyOf={(p) => p.unit}
            columns={[
              { title: "Training", cell: (p) => unitInWords(p.unit) },
              { title: "Inner score (mean Dice)", number: true, cell: (p) => formatNumber(p.value) },
            ]}
          />
        }
      />
    </div>
  );
}

function Losses({ rows, names }: CurveProps) {
  const lines = lossLines(rows, LOSS_RUNS);
  const key = JSON.stringify([lines, names]);
  const options = useMemo<Plot.PlotOptions>(() => {
    const [shown, order] = JSON.parse(key) as [typeof lines, string[]];
    return {
      height: HEIGHT,
      marginLeft: 48,
      marginBottom: 42,
      x: { label: "Step", labelOffset: 36 },
      y: { label: "Training loss", grid: true, nice: true, zero: true },
      marks: order.map((name, n) =>
        Plot.lineY(
          shown.filter((p) => p.contender === name),
          {
            x: "step",
            y: "loss",
            z: "unit",
            stroke: seriesColor(n),
            strokeDasharray: seriesDash(n),
            title: (p: (typeof lines)[number]) => unitInWords(p.unit),
          },
        ),
      ),
    };
  }, [key]);
  const ends = [...new Map(lines.map((p) => [p.unit, p])).values()];
  if (!lines.length) return <p class="card soft">No training has told its loss yet.</p>;
  return (
    <div class="card">
      <Chart
        caption={`Training loss of the ${LOSS_RUNS} newest trainings of each contender, those that run first.`}
        options={options}
        table={
          <Table
            caption="Where each line ends"
            rows={ends}
            keyOf={(p) => p.unit}
            columns={[
              { title: "Training", cell: (p) => unitInWords(p.unit) },
              { title: "Step", number: true, cell: (p) => String(p.step) },
              { title: "Loss", number: true, cell: (p) => formatNumber(p.loss) },
            ]}
          />
        }
      />
    </div>
  );
}
