/** The words of a verdict. The numbers, and what follows from them, come from the stats service. */
export type VerdictName =
  | "equivalent"
  | "better_a"
  | "better_b"
  | "different_but_negligible"
  | "inconclusive";

/** Return the verdict in few words, with the names of the models. */
export function verdictTitle(verdict: VerdictName, models: readonly [string, string]): string {
  const words: Record<VerdictName, string> = {
    equivalent: "Equivalent",
    better_a: `${models[0]} is better`,
    better_b: `${models[1]} is better`,
    different_but_negligible: "Different, but negligibly",
    inconclusive: "Cannot tell",
  };
  return words[verdict];
}

/** Return how a verdict is shown; only "cannot tell" asks for care. */
export function verdictTone(verdict: VerdictName): "good" | "busy" | "warn" {
  if (verdict === "inconclusive") return "warn";
  return verdict === "equivalent" ? "good" : "busy";
}

export function verdictSign(verdict: VerdictName): string {
  return { equivalent: "=", better_a: ">", better_b: "<", different_but_negligible: "≈", inconclusive: "?" }[
    verdict
  ];
}

const METHODS: Record<string, string> = {
  paired_t_corrected: "Paired t, corrected for shared training data",
  paired_t: "Paired t, as if subjects were independent",
  sign_flip: "Sign flips",
  wilcoxon: "Wilcoxon signed ranks",
  bootstrap_t: "Bootstrap t",
  bayes_correlated_t: "Bayesian correlated t",
  bayes_signed_rank: "Bayesian signed ranks",
};

export function methodLabel(method: string): string {
  return METHODS[method] ?? method;
}

const EFFECTS: Record<string, string> = {
  d_z: "Difference over its spread (d_z)",
  hedges_g_z: "The same, without the bias of few subjects (Hedges g_z)",
  d_av: "Difference over the spread of scores (d_av)",
  cliffs_delta: "Cliff's delta: −1 to 1",
  matched_rank_biserial: "Rank-biserial correlation: −1 to 1",
  p_a_above_b: "Share of subjects on which a scores above b",
};

export function effectLabel(name: string): string {
  return EFFECTS[name] ?? name;
}

export type Basis = "stated" | "inter_observer" | "endpoint";

export const BASES: readonly [Basis, string][] = [
  ["stated", "I state it"],
  ["inter_observer", "spread between two observers"],
  ["endpoint", "what changes the endpoint"],
];

/** Return why a dissenting method matters: how many others say what the deciding one says. */
export function agreementOfMethods(verdict: VerdictName, others: readonly VerdictName[]): string {
  const same = others.filter((v) => v === verdict).length;
  if (others.length === 0) return "No other method was asked.";
  if (same === others.length) return `All ${others.length} methods say the same.`;
  return `${same} of ${others.length} methods say the same; the others are below. The first one decides.`;
}

/** Return a p value as one writes it. */
export function formatP(p: number): string {
  return p < 0.001 ? "< 0.001" : p.toFixed(p < 0.1 ? 3 : 2);
}
