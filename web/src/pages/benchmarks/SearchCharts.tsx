import * as Plot from "@observablehq/plot";
import { useMemo } from "preact/hooks";
import { Chart } from "../../charts/Chart";
import { formatNumber, formatPercent } from "../../pure/format";
import { axesOf, history, placeOn, runningBest } from "../../pure/search_history";
import { Table } from "../../ui/Table";
import type { Study } from "./SearchPage";

const HEIGHT = 260;

/** Inner score by trial, with the best so far; pruned trials are crosses. */
export function HistoryChart({ study }: { study: Study }) {
  const points = history(study.trials);
  const key = JSON.stringify(points);
  const options = useMemo<Plot.PlotOptions>(() => {
    const shown = (JSON.parse(key) as typeof points).map((p) => ({ ...p, place: p.number }));
    const best = runningBest(shown).map((p) => ({ ...p, place: p.number }));
    return {
      height: HEIGHT,
      marginLeft: 48,
      marginBottom: 42,
      x: { label: "Trial", labelOffset: 36, tickFormat: "d", interval: 1 },
      y: { label: "Inner score (mean Dice)", grid: true, nice: true },
      marks: [
        Plot.lineY(best, {
          x: "place",
          y: "best",
          stroke: "var(--series-2)",
          curve: "step-after",
          strokeWidth: 2,
        }),
        Plot.dot(
          shown.filter((p) => !p.pruned),
          { x: "place", y: "value", stroke: "var(--series-1)", fill: "var(--surface)", strokeWidth: 1.8 },
        ),
        Plot.dot(
          shown.filter((p) => p.pruned),
          { x: "place", y: "value", stroke: "var(--series-6)", symbol: "times", strokeWidth: 1.8 },
        ),
      ],
    };
  }, [key]);
  if (!points.length) return <p class="card soft">No trial has a score yet.</p>;
  return (
    <div class="card">
      <h2>History</h2>
      <Chart
        caption="Circles: inner score of each trial. Crosses: pruned trials, where they were stopped. Line: the best so far."
        options={options}
        table={
          <Table
            caption="History"
            captionHidden
            rows={points}
            keyOf={(p) => String(p.number)}
            columns={[
              { title: "Trial", cell: (p) => String(p.number) },
              { title: "Inner score", number: true, cell: (p) => formatNumber(p.value) },
              { title: "Pruned", cell: (p) => (p.pruned ? "yes" : "no") },
            ]}
          />
        }
      />
    </div>
  );
}

/** Which parameters set good trials apart. */
export function ImportanceChart({ study }: { study: Study }) {
  const shares = Object.entries(study.importances ?? {})
    .map(([name, share]) => ({ name: name.replaceAll("_", " "), share }))
    .sort((a, b) => b.share - a.share);
  const key = JSON.stringify(shares);
  const options = useMemo<Plot.PlotOptions>(() => {
    const shown = JSON.parse(key) as typeof shares;
    return {
      height: Math.max(120, 30 * shown.length + 50),
      marginLeft: 120,
      x: { label: "Share of what sets good trials apart", percent: true, domain: [0, 100] },
      y: { label: null },
      marks: [
        Plot.barX(shown, { x: "share", y: "name", fill: "var(--series-1)", sort: { y: "-x" } }),
        Plot.ruleX([0]),
      ],
    };
  }, [key]);
  return (
    <div class="card">
      <h2>Which parameters mattered</h2>
      {shares.length ? (
        <Chart
          caption="PED-ANOVA importances (Watanabe et al. 2023); they sum to 100 %."
          options={options}
          table={
            <Table
              caption="Importances"
              captionHidden
              rows={shares}
              keyOf={(s) => s.name}
              columns={[
                { title: "Parameter", cell: (s) => s.name },
                { title: "Share", number: true, cell: (s) => formatPercent(s.share) },
              ]}
            />
          }
        />
      ) : (
        <p class="soft">not measured: {study.importances_reason ?? "the search is not finished"}</p>
      )}
    </div>
  );
}

interface Corner {
  trial: number;
  axis: string;
  at: number;
  value: number;
}

/** A line for each trial through all its parameters, coloured by its score. */
export function ParallelChart({ study }: { study: Study }) {
  const scored = study.trials.filter((t) => t.value !== null);
  const axes = axesOf(scored);
  const corners: Corner[] = scored.flatMap((t) =>
    axes.flatMap((axis) => {
      const value = t.parameters[axis.name];
      if (value === undefined) return [];
      return [
        {
          trial: t.number,
          axis: axis.name.replaceAll("_", " "),
          at: placeOn(axis, value),
          value: t.value ?? 0,
        },
      ];
    }),
  );
  const key = JSON.stringify([corners, axes, study.best]);
  const options = useMemo<Plot.PlotOptions>(() => {
    const [shown, order, best] = JSON.parse(key) as [Corner[], typeof axes, number | null];
    const names = order.map((a) => a.name.replaceAll("_", " "));
    const ends = order.flatMap((a, n) => [
      { axis: names[n], at: 1, text: a.names ? (a.names.at(-1) ?? "") : formatNumber(a.high), dy: -9 },
      { axis: names[n], at: 0, text: a.names ? (a.names[0] ?? "") : formatNumber(a.low), dy: 11 },
    ]);
    return {
      height: 300,
      marginTop: 34,
      marginBottom: 48,
      marginLeft: 40,
      marginRight: 40,
      x: { type: "point", domain: names, label: null, axis: "bottom", tickSize: 0, tickPadding: 22 },
      y: { axis: null, domain: [0, 1] },
      // Both ends reach 3:1 on the light and on the dark surface, which no usual scheme does.
      color: {
        type: "linear",
        range: ["#4f8fd0", "#d9731a"],
        interpolate: "rgb",
        legend: true,
        label: "Inner score (mean Dice)",
      },
      marks: [
        Plot.ruleX(names, { stroke: "var(--line-strong)" }),
        Plot.line(shown, {
          x: "axis",
          y: "at",
          z: "trial",
          stroke: "value",
          strokeWidth: 1.6,
          strokeOpacity: 0.8,
        }),
        Plot.line(
          shown.filter((c) => c.trial === best),
          { x: "axis", y: "at", z: "trial", stroke: "var(--ink)", strokeWidth: 3 },
        ),
        ...([9, -9] as const).map((sign) =>
          Plot.text(
            ends.filter((e) => (sign > 0 ? e.dy > 0 : e.dy < 0)),
            { x: "axis", y: "at", text: "text", dy: sign > 0 ? 12 : -10, fill: "currentColor" },
          ),
        ),
      ],
    };
  }, [key]);
  if (scored.length < 2 || axes.length < 2) return null;
  return (
    <div class="card">
      <h2>All parameters of all trials</h2>
      <Chart
        caption="One line for each trial with a score, the best in bold. Each parameter goes from its lowest tried value to its highest (on a log scale where these lie far apart)."
        options={options}
        table={<p class="small">The numbers are in the table of trials below.</p>}
      />
    </div>
  );
}
