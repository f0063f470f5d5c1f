import { query } from "../../api/client";
import type { Ranking, StatsShape } from "../../api/types";
import { ServiceFigure } from "../../charts/ServiceFigure";
import { formatNumber } from "../../pure/format";
import { metricOf } from "../../pure/metrics";
import { formatP } from "../../pure/verdicts";
import { ButtonLink } from "../../ui/Button";
import { Quantity } from "../../ui/Quantity";
import { Table } from "../../ui/Table";
import { type Question, rankingBody } from "./question";

const READINGS: Record<string, string> = {
  equal: "as good as equal",
  boundary: "mostly borders drawn a little elsewhere: says little about competence",
  substance: "tissue missed or invented",
};

/** Every pair with its interval, what the difference is made of, and the diagram readers expect. */
export function Differences({ question, ranking }: { question: Question; ranking: Ranking | null }) {
  if (!ranking) return null;
  const body = rankingBody(question);
  return (
    <div class="stack">
      <section class="card stack">
        <h2>Every pair</h2>
        <p>
          Where an interval holds zero, the two are not shown to differ. That does not make them equivalent:{" "}
          {question.margin === null
            ? "for that, give a margin and compare the two."
            : `against your margin of ±${formatNumber(question.margin)}${metricOf(question.metric).unit} each pair has a verdict of its own.`}
        </p>
        <ServiceFigure
          path="/v1/rankings/figures/forest"
          body={body}
          caption={`Mean paired difference of every pair, with its 95 % interval${question.margin === null ? "" : "; grey: the margin"}.`}
        />
        <Pairs question={question} ranking={ranking} />
      </section>
      <Paradox of={ranking.paradox} />
      <section class="card stack">
        <h2>Critical-difference diagram</h2>
        <p>
          Shown because readers expect it; it decides nothing here. A bar joins models that Nemenyi's test
          cannot tell apart by their ranks. Friedman's test over all models: p ={" "}
          {formatP(ranking.friedman.permutation_p)} (shuffled ranks); agreement of subjects on the order, 0 to
          1 (Kendall's W): {formatNumber(ranking.friedman.kendall_w)}.
        </p>
        <ServiceFigure
          path="/v1/rankings/figures/cd_diagram"
          body={body}
          caption={`Average ranks; the critical difference is ${formatNumber(ranking.nemenyi.critical_difference)} ranks at ${ranking.n_units} subjects.`}
          table={
            <Table
              caption="Average rank within subjects, 1 is best"
              rows={ranking.models}
              keyOf={(row) => row.model}
              columns={[
                { title: "Model", cell: (row) => row.model },
                { title: "Average rank", number: true, cell: (row) => formatNumber(row.average_rank) },
                {
                  title: "Joined with",
                  cell: (row) =>
                    [...new Set(ranking.nemenyi.groups.filter((g) => g.includes(row.model)).flat())]
                      .filter((name) => name !== row.model)
                      .join(", ") || "none",
                },
              ]}
            />
          }
        />
      </section>
    </div>
  );
}

function Pairs({ question, ranking }: { question: Question; ranking: Ranking }) {
  const { unit } = metricOf(question.metric);
  const verdictPath = (pair: StatsShape<"RankedPair">) => {
    const { benchmark, protocol, metric, margin } = question;
    const sides = { a: `${benchmark}/${pair.a}`, b: `${benchmark}/${pair.b}` };
    return `/compare${query({ ...sides, protocol, metric, class: question.class, margin, ask: margin === null ? null : 1 })}`;
  };
  return (
    <Table
      caption="Pairs"
      captionHidden
      rows={ranking.pairs}
      keyOf={(row) => `${row.a} ${row.b}`}
      columns={[
        { title: "Pair", cell: (row) => `${row.a} − ${row.b}` },
        {
          title: "Mean difference",
          number: true,
          cell: (row) => (
            <Quantity
              value={row.difference}
              unit={unit}
              interval={row.ci95 as [number, number] | null}
              reason={row.ci95 ? undefined : "the same on every subject"}
            />
          ),
        },
        { title: "p", number: true, cell: (row) => formatP(row.p_difference) },
        { title: "p, counting all pairs", number: true, cell: (row) => formatP(row.p_holm) },
        {
          title: "Verdict",
          cell: (row) => (
            <ButtonLink compact href={verdictPath(row)}>
              {question.margin === null ? "Compare" : "Read the verdict"}
            </ButtonLink>
          ),
        },
      ]}
    />
  );
}

function Paradox({ of }: { of: Ranking["paradox"] }) {
  if (of.length === 0) return null;
  return (
    <section class="card stack">
      <h2>Borders or tissue?</h2>
      <p>
        Thin rings lose Dice by borders that lie a little elsewhere. Here is what is left of each difference
        once borders within 2 µm count as right.
      </p>
      <Table
        caption="What differences in Dice are made of"
        captionHidden
        rows={of}
        keyOf={(row) => `${row.better} ${row.worse}`}
        columns={[
          { title: "Pair", cell: (row) => `${row.better} − ${row.worse}` },
          { title: "In Dice", number: true, cell: (row) => formatNumber(row.difference) },
          {
            title: "Borders forgiven",
            number: true,
            cell: (row) => (
              <Quantity
                value={row.forgiven}
                unit=""
                interval={row.forgiven_ci95 as [number, number] | null}
              />
            ),
          },
          { title: "Reading", cell: (row) => READINGS[row.reading] ?? row.reading },
        ]}
      />
    </section>
  );
}
