/** What stands on a model's card, in words. */
import type { ApiShape } from "../../api/types";
import { formatNumber, formatPercent, formatUnit } from "../../pure/format";

type Card = ApiShape<"ModelCard">;

const FIGURES: Record<string, string> = {
  ece: "Calibration error, all pixels",
  ece_foreground: "Calibration error, tissue",
  ece_foreground_adaptive: "Calibration error, tissue, bins of equal numbers",
  ece_boundary: "Calibration error, near true borders",
  ece_classwise: "Calibration error, mean over classes",
  brier: "Brier score",
  nll: "Negative log-likelihood",
  nll_foreground: "Negative log-likelihood, tissue",
  auroc: "Finding wrong pixels by entropy (AUROC)",
  aurc: "Risk over coverage (AURC)",
  excess_aurc: "Risk over coverage above the best possible",
  removed_12: "Errors among the 12 % least sure pixels",
  removed_25: "Errors among the 25 % least sure pixels",
};

/** Return a calibration figure's name in words: "ece_class:media" as "Calibration error, media". */
export function figureLabel(name: string): string {
  const [, className] = /^ece_class:(.+)$/.exec(name) ?? [];
  return className ? `Calibration error, ${className}` : (FIGURES[name] ?? name);
}

/** Return a group of pixels in words: "class:media" as "media against the rest". */
export function groupLabel(group: string): string {
  if (group.startsWith("class:")) return `${group.slice(6)} against the rest`;
  return { all: "all pixels", foreground: "tissue", boundary: "near true borders" }[group] ?? group;
}

/** Return what must be read before a model is used, worst first. */
export function cautions(card: Card): { tone: "bad" | "warn"; title: string; text: string }[] {
  const found: ReturnType<typeof cautions> = [];
  if (card.synthetic)
    found.push({
      tone: "warn",
      title: "Trained on SYNTHETIC arteries only",
      text: "It has never seen tissue, and its scores and calibration say nothing about tissue. For demonstration and tests; train on your own sections for anything else.",
    });
  if (card.leakage_override)
    found.push({
      tone: "bad",
      title: "Its test images may not be independent of its training images",
      text: `This was allowed with the words: ${card.leakage_override}`,
    });
  if (card.imported)
    found.push({
      tone: "warn",
      title: "Imported",
      text: "Its networks are what its card hashes, but its scores were measured elsewhere and cannot be checked here.",
    });
  if (!card.evidence)
    found.push({
      tone: "warn",
      title: "Its uncertainty was not measured",
      text: "Confidence is as the networks say it, and measures have no prediction intervals. Measure it on labelled sections of your own, below.",
    });
  return found;
}

export interface ReliabilityPoint {
  confidence: number;
  right: number;
  pixels: number;
}

/** Return mean confidence and share of right pixels of every bin that has pixels. */
export function reliabilityPoints(bins: ApiShape<"Reliability">): ReliabilityPoint[] {
  return bins.pixels
    .map((pixels, n) => ({
      pixels,
      confidence: (bins.confidence[n] ?? 0) / pixels,
      right: (bins.right[n] ?? 0) / pixels,
    }))
    .filter((point) => point.pixels > 0);
}

/** Return the error of a measure on held-out sections: in its unit, or in percent on the log scale. */
export function residualText(residual: ApiShape<"Residual">): string {
  if (residual.sd === null || residual.bias === null) return `not measured: ${residual.reason}`;
  const unit = formatUnit(residual.unit);
  const plain = (value: number) => `${formatNumber(value)}${unit ? `\u202f${unit}` : ""}`;
  const shown = residual.scale === "plain" ? plain : (value: number) => formatPercent(Math.exp(value) - 1);
  return `${residual.bias >= 0 ? "+" : ""}${shown(residual.bias)} on average, spread ${shown(residual.sd)}`;
}

/** Return whether a smaller network may stand for the full one, in a sentence. */
export function equivalenceText(found: ApiShape<"DiceEquivalence"> | null): string {
  if (!found) return "not measured";
  const limits = found.ci90 as [number, number] | null;
  const interval = limits ? `, 90 % interval ${formatNumber(limits[0])} to ${formatNumber(limits[1])}` : "";
  const words: Record<string, string> = {
    identical: "identical masks",
    equivalent: "equivalent",
    different_but_negligible: "different, but negligibly",
    worse: "worse",
    better: "better",
    inconclusive: "cannot tell",
  };
  return `${words[found.verdict] ?? found.verdict} within ±${found.margin} Dice (loses ${formatNumber(found.loss)}${interval}; ${found.subjects} subjects)`;
}

/** Return the score a list shows: macro Dice of the first protocol that has it. */
export function headlineScore(card: Card): ApiShape<"ProtocolScore"> | null {
  return card.scores.find((s) => s.metric === "dice/macro") ?? null;
}
