import type { Ranking, StatsShape } from "../../api/types";
import { ServiceFigure } from "../../charts/ServiceFigure";
import { count, formatNumber, formatPercent } from "../../pure/format";
import { metricOf, protocolLabel } from "../../pure/metrics";
import { formatP } from "../../pure/verdicts";
import { Table } from "../../ui/Table";
import { Share } from "./Leaderboard";
import { type Question, rankingBody } from "./question";

/** How often the order would come again, always beside what models without any difference would show. */
export function StabilityTab({ question, ranking }: { question: Question; ranking: Ranking | null }) {
  if (!ranking) return null;
  const { stability } = ranking;
  const first = ranking.models[0]?.model ?? "";
  return (
    <div class="stack">
      <section class="card stack">
        <h2>Does the first stay first?</h2>
        <p>
          <strong>{first}</strong> comes first in {formatPercent(stability.winner_frequency)} of resamples of
          the subjects. Models without any difference would do so in {formatPercent(stability.null_frequency)}
          , and as often or more in {formatPercent(stability.null_p)} of such data.{" "}
          {stability.leave_one_out_winner_changes === 0
            ? "Leaving out any one subject keeps the first."
            : `Leaving out one subject changes the first for ${count(stability.leave_one_out_winner_changes, "of the subjects", "of the subjects")}.`}
        </p>
        <Table
          caption="How often the first comes first again"
          captionHidden
          keyOf={(row) => row[0]}
          rows={
            [
              [first, stability.winner_frequency],
              ["Models without any difference", stability.null_frequency],
            ] as [string, number][]
          }
          columns={[
            { title: "", cell: (row) => row[0] },
            { title: "First in … of resamples", cell: (row) => <Share of={row[1]} /> },
          ]}
        />
        <p class="soft small">
          {stability.exact
            ? `All ${formatNumber(stability.resamples, 6)} resamples were counted.`
            : `${formatNumber(stability.resamples, 6)} resamples were drawn.`}{" "}
          {ranking.attainability.sentence}
        </p>
      </section>
      <section class="card">
        <h2>All ranks</h2>
        <ServiceFigure
          path="/v1/rankings/figures/rank_blobs"
          body={rankingBody(question)}
          caption="How often each model takes each rank when subjects are resampled; the larger the disc, the oftener."
          table={<RankTable ranking={ranking} />}
        />
      </section>
      <Volatility of={ranking.volatility} />
      <Agreements of={ranking.agreements} />
    </div>
  );
}

function RankTable({ ranking }: { ranking: Ranking }) {
  return (
    <Table
      caption="Share of resamples at each rank"
      rows={ranking.models}
      keyOf={(row) => row.model}
      columns={[
        { title: "Model", cell: (row) => row.model },
        ...ranking.models.map((_, n) => ({
          title: `Rank ${n + 1}`,
          number: true,
          cell: (row: StatsShape<"RankedModel">) => formatPercent(row.rank_distribution[n] ?? 0),
        })),
      ]}
    />
  );
}

function Volatility({ of }: { of: Ranking["volatility"] }) {
  if (of.length === 0) return null;
  return (
    <section class="card stack">
      <h2>How ranks move</h2>
      {of.map((part) => (
        <div key={part.over} class="stack">
          <p>
            Over {count(part.views.length, part.over.replace(/s$/, ""))}, a model's rank moves by{" "}
            {formatNumber(part.mean_range)} on average; without any difference it would move by{" "}
            {formatNumber(part.null_mean_range)}.{" "}
            {part.null_p < 0.05
              ? "Ranks are steadier than chance."
              : `Ranks are not steadier than chance (p = ${formatP(part.null_p)}).`}
          </p>
          <details class="small">
            <summary>Each model over {part.over}</summary>
            <Table
              caption={`Best and worst rank over ${part.over}`}
              rows={part.models}
              keyOf={(row) => row.model}
              columns={[
                { title: "Model", cell: (row) => row.model },
                { title: "Best rank", number: true, cell: (row) => formatNumber(row.lowest) },
                { title: "Worst rank", number: true, cell: (row) => formatNumber(row.highest) },
              ]}
            />
          </details>
        </div>
      ))}
    </section>
  );
}

function Agreements({ of }: { of: Ranking["agreements"] }) {
  if (of.length === 0) return null;
  const named = (between: string, name: string) =>
    between === "metrics"
      ? metricOf(name).label
      : between === "protocols"
        ? protocolLabel(name)
        : `seed ${name}`;
  return (
    <section class="card stack">
      <h2>Would another yardstick say the same?</h2>
      <p>
        Agreement of two orders: 1 is the same order, −1 the reverse (Kendall's tau). Beside it what models
        without any difference show on these subjects, which is not zero.
      </p>
      <Table
        caption="Agreement with other metrics, protocols and seeds"
        captionHidden
        rows={of}
        keyOf={(row) => `${row.between} ${row.a} ${row.b}`}
        columns={[
          { title: "This order", cell: (row) => named(row.between, row.a) },
          { title: "That order", cell: (row) => named(row.between, row.b) },
          {
            title: "Agreement",
            number: true,
            cell: (row) => (row.tau === null ? "none: all tied" : formatNumber(row.tau)),
          },
          { title: "Without any difference", number: true, cell: (row) => formatNumber(row.null_mean) },
          { title: "p", number: true, cell: (row) => formatP(row.null_p) },
        ]}
      />
    </section>
  );
}
