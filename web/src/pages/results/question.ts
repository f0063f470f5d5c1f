/** What of a benchmark is asked, as the URL says it. */
import type { Benchmark } from "../../api/types";

export interface Question {
  benchmark: string;
  protocol: string;
  metric: string;
  class: string;
  /** null: none is given, and no cheapest equivalent is chosen. */
  margin: number | null;
}

/** Return the protocols under which a benchmark has a leaderboard, in its order. */
export function protocolsOf(benchmark: Benchmark): string[] {
  return [...new Set(benchmark.leaderboard.map((entry) => entry.protocol))];
}

/** Return the question of the URL; what it does not say is the first protocol, Dice over all classes, no margin. */
export function questionOf(benchmark: Benchmark, parameters: URLSearchParams): Question {
  const margin = Number(parameters.get("margin"));
  return {
    benchmark: benchmark.id,
    protocol: parameters.get("protocol") ?? protocolsOf(benchmark)[0] ?? "",
    metric: parameters.get("metric") ?? "dice",
    class: parameters.get("class") ?? "macro",
    margin: Number.isFinite(margin) && margin > 0 ? margin : null,
  };
}

/** Return the body of POST /v1/rankings. */
export function rankingBody(question: Question): object {
  const { margin, ...rest } = question;
  return { ...rest, ...(margin === null ? {} : { margin: { value: margin, basis: "stated" } }) };
}

/** Return the query of GET /v1/benchmarks/{id}/report.html. */
export function reportQuery(question: Question): Record<string, string | number | null> {
  return { metric: question.metric, class: question.class, margin: question.margin };
}
