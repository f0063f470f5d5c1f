import { useAnswer } from "../../api/answer";
import { useApiCalls } from "../../api/calls";
import { query } from "../../api/client";
import { useJson } from "../../api/resource";
import type { Benchmark, Dataset, Ranking } from "../../api/types";
import { count } from "../../pure/format";
import { protocolLabel, scoreLabel } from "../../pure/metrics";
import { ButtonLink } from "../../ui/Button";
import { Empty, Loaded } from "../../ui/Loading";
import { Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import type { PageProps } from "../../ui/page_routes";
import { StateBadge } from "../../ui/StateBadge";
import { Tabs } from "../../ui/Tabs";
import { useParameters } from "../../ui/url";
import { Warnings } from "../../ui/Warnings";
import { Controls } from "./Controls";
import { Differences } from "./Differences";
import { Explaining } from "./Explaining";
import { Files } from "./Files";
import { Leaderboard } from "./Leaderboard";
import { External, Incomplete } from "./Parts";
import { protocolsOf, type Question, questionOf, rankingBody, reportQuery } from "./question";
import { SearchNoise } from "./SearchNoise";
import { StabilityTab } from "./StabilityTab";

/** What a finished benchmark says, and what it does not. */
export default function ResultsPage({ parameters }: PageProps) {
  const id = parameters.id ?? "";
  const benchmark = useJson<Benchmark>(`/v1/benchmarks/${encodeURIComponent(id)}`);
  return (
    <Loaded of={benchmark} what="the benchmark">
      {(found) =>
        protocolsOf(found).length ? <Results benchmark={found} /> : <NoScores benchmark={found} />
      }
    </Loaded>
  );
}

function NoScores({ benchmark }: { benchmark: Benchmark }) {
  return (
    <>
      <PageHead title="Results" about={<StateBadge state={benchmark.state} />} />
      <Empty title="There are no scores yet">
        <p>Scores are collected when all folds are done. The board shows how far it is.</p>
        <ButtonLink href={`/benchmarks/${benchmark.id}`} look="primary">
          To the board
        </ButtonLink>
      </Empty>
      <Incomplete parts={benchmark.incomplete} />
    </>
  );
}

function Results({ benchmark }: { benchmark: Benchmark }) {
  const [url, setUrl] = useParameters();
  const question = questionOf(benchmark, url);
  const dataset = useJson<Dataset>(`/v1/datasets/${encodeURIComponent(benchmark.dataset)}`);
  const alone = benchmark.leaderboard.filter((e) => e.protocol === question.protocol).length < 2;
  const ranking = useAnswer<Ranking>("/v1/rankings", alone ? null : rankingBody(question));
  useApiCalls(callsOf(benchmark, question));
  const models = [...new Set(benchmark.leaderboard.map((entry) => entry.model))];
  return (
    <>
      <PageHead
        title={`Results: ${models.slice(0, 4).join(", ")}${models.length > 4 ? " …" : ""}`}
        about={
          dataset.data
            ? `${dataset.data.name} · ${dataset.data.licence} · ${count(new Set(dataset.data.cases.map((c) => c.subject)).size, "subject")}, ${count(dataset.data.cases.length, "section")}`
            : ""
        }
      >
        <ButtonLink href={`/benchmarks/${benchmark.id}`}>Board</ButtonLink>
        <ButtonLink href={comparePath(benchmark, models, question)} look="primary">
          Compare two of them
        </ButtonLink>
      </PageHead>
      <div class="stack">
        {benchmark.state === "succeeded" ? null : (
          <Notice tone="warn" title={`This benchmark is ${benchmark.state}`}>
            <p>The numbers are of what is done.</p>
          </Notice>
        )}
        <LeakageNote benchmark={benchmark} />
        {alone ? <Alone /> : null}
        <Loaded of={ranking} what="the ranking">
          {(found) => <Answer ranking={found} question={question} />}
        </Loaded>
        <Controls benchmark={benchmark} dataset={dataset.data} question={question} />
        <Incomplete parts={benchmark.incomplete} />
        <Tabs
          label="Parts of the results"
          shown={url.get("view") ?? "leaderboard"}
          onShow={(view) => setUrl({ view: view === "leaderboard" ? null : view })}
          tabs={[
            {
              key: "leaderboard",
              label: "Leaderboard",
              content: () => <Leaderboard benchmark={benchmark} question={question} ranking={ranking.data} />,
            },
            {
              key: "stability",
              label: "Would it happen again?",
              content: () => <StabilityTab question={question} ranking={ranking.data} />,
            },
            {
              key: "differences",
              label: "Differences",
              content: () => <Differences question={question} ranking={ranking.data} />,
            },
            {
              key: "folds",
              label: "Best and worst fold",
              content: () => <Explaining benchmark={benchmark} protocol={question.protocol} />,
            },
            { key: "search", label: "Search noise", content: () => <SearchNoise benchmark={benchmark} /> },
            {
              key: "external",
              label: "External data",
              content: () => <External view={benchmark.external ?? null} />,
            },
            {
              key: "files",
              label: "Reports and files",
              content: () => <Files benchmark={benchmark} question={question} />,
            },
          ]}
        />
      </div>
    </>
  );
}

function Alone() {
  return (
    <section class="card" aria-label="The answer">
      <p style={{ fontSize: "1.25rem", margin: 0 }} data-testid="ranking-sentence">
        Only one model has all its scores here, so there is nothing to rank.
      </p>
    </section>
  );
}

/** The sentence first; "no winner" is said as plainly as a winner. */
function Answer({ ranking, question }: { ranking: Ranking; question: Question }) {
  return (
    <section class="card stack" aria-label="The answer">
      <div class="row">
        {ranking.winner === null ? (
          <span class="badge warn">
            <span aria-hidden="true">?</span>No winner
          </span>
        ) : (
          <span class="badge good">
            <span aria-hidden="true">✓</span>
            {ranking.winner} is first
          </span>
        )}
        <span class="soft small">
          {scoreLabel(question.metric, question.class)} · {protocolLabel(question.protocol)} ·{" "}
          {count(ranking.n_units, "subject")}
        </span>
      </div>
      <p style={{ fontSize: "1.25rem", lineHeight: 1.4, margin: 0 }} data-testid="ranking-sentence">
        {ranking.sentence}
      </p>
      {ranking.choice ? (
        <p style={{ margin: 0 }}>
          <strong>Which to use:</strong> {ranking.choice.sentence}
        </p>
      ) : null}
      <Warnings of={ranking.warnings} />
    </section>
  );
}

function LeakageNote({ benchmark }: { benchmark: Benchmark }) {
  if (!benchmark.leakage) return null;
  return (
    <Notice tone="bad" title="Test images may not be independent of training images">
      <p>This was allowed with the words: {benchmark.leakage.reason}</p>
      <ul>
        {benchmark.leakage.found.map((found) => (
          <li key={found}>{found}</li>
        ))}
      </ul>
    </Notice>
  );
}

function comparePath(benchmark: Benchmark, models: string[], question: Question): string {
  const side = (n: number) => (models[n] ? `${benchmark.id}/${models[n]}` : null);
  const { protocol, metric, margin } = question;
  return `/compare${query({ a: side(0), b: side(1), protocol, metric, class: question.class, margin })}`;
}

function callsOf(benchmark: Benchmark, question: Question) {
  const body = rankingBody(question);
  const base = `/v1/benchmarks/${benchmark.id}`;
  return [
    { title: "The ranking", method: "POST" as const, path: "/v1/rankings", body },
    {
      title: "A figure of it (cd_diagram, rank_blobs, forest; svg, pdf or csv)",
      method: "POST" as const,
      path: "/v1/rankings/figures/rank_blobs.svg",
      body,
      saveAs: "rank_blobs.svg",
    },
    { title: "The benchmark: leaderboard, search noise, external data", method: "GET" as const, path: base },
    { title: "Every score", method: "GET" as const, path: `${base}/scores.csv`, saveAs: "scores.csv" },
    {
      title: "The report",
      method: "GET" as const,
      path: `${base}/report.pdf${query(reportQuery(question))}`,
      saveAs: "report.pdf",
    },
    {
      title: "Explain the best and the worst fold",
      method: "POST" as const,
      path: `${base}/explanations`,
      body: { model: benchmark.leaderboard[0]?.model ?? "", protocol: question.protocol },
    },
  ];
}
