/** The five layers of an explained section in words. The JSON is an artefact (intima.contracts.explanation.CaseExplanation). */
import { count, formatNumber, formatPercent, formatQuantity } from "../../pure/format";

interface Pair {
  name: string;
  unit: string;
  truth: number | null;
  predicted: number | null;
}

interface OnClass {
  class_name: string;
  on_class: number | null;
  in_band: number | null;
}

export interface CaseExplanation {
  error: {
    pixels: number;
    share: number;
    unit: string;
    band: number;
    displaced_errors: number;
    pairs: { truth: string; predicted: string; share: number }[];
  } | null;
  uncertainty: {
    samplers: { sampler: string; passes: number; auroc_entropy: number | null }[];
    calibration: string;
    notes: string[];
  } | null;
  attention: { method: string; source: string; classes: OnClass[]; notes: string[] } | null;
  saliency: { classes: OnClass[]; steps: number } | null;
  morphology: {
    note: string;
    invented_vessels: number;
    vessels: {
      vessel: number;
      predicted_vessel: number | null;
      measures: Pair[];
      predicted_checks: string[];
    }[];
  } | null;
}

export interface Layer {
  title: string;
  lines: string[];
}

const SAMPLERS: Record<string, string> = { tta: "eight orientations", mc_dropout: "dropout" };
const METHODS: Record<string, string> = {
  grad_cam: "Grad-CAM",
  attention_rollout: "attention rollout",
  attention_per_layer: "attention of single layers",
};
const NOT_ASKED = "This layer was not asked for.";

/** Return what each layer says, in the order of the figure. */
export function layersOf(found: CaseExplanation): Layer[] {
  return [
    { title: "Error: where it is wrong", lines: errorLines(found.error) },
    { title: "Uncertainty: did it know?", lines: uncertaintyLines(found.uncertainty) },
    { title: "Attention: where it looks", lines: attentionLines(found.attention) },
    { title: "Saliency: what carries each class", lines: saliencyLines(found.saliency) },
    { title: "Morphology: what the masks measure", lines: morphologyLines(found.morphology) },
  ];
}

function errorLines(layer: CaseExplanation["error"]): string[] {
  if (!layer) return [NOT_ASKED];
  if (layer.pixels === 0) return ["No pixel is wrong."];
  const lines = [
    `${formatPercent(layer.share)} of the section is wrong.`,
    `${formatPercent(layer.displaced_errors / layer.pixels)} of that are borders drawn within ${formatNumber(layer.band)} ${layer.unit} of the true place; the rest is tissue.`,
  ];
  const [worst] = layer.pairs;
  if (worst)
    lines.push(
      `Most frequent: ${worst.truth} called ${worst.predicted}, ${formatPercent(worst.share)} of the errors.`,
    );
  return lines;
}

function uncertaintyLines(layer: CaseExplanation["uncertainty"]): string[] {
  if (!layer) return [NOT_ASKED];
  const lines = layer.samplers.map(({ sampler, passes, auroc_entropy }) => {
    const name = `${SAMPLERS[sampler] ?? sampler}, ${count(passes, "pass", "passes")}`;
    return auroc_entropy === null
      ? `By ${name}: finding errors was not measured, all pixels are right or all wrong.`
      : `By ${name}: a wrong pixel is less sure than a right one in ${formatPercent(auroc_entropy)} of pairs (50 % is chance).`;
  });
  return [...lines, ...layer.notes, `Calibration of these maps: ${layer.calibration}.`];
}

function onClass(classes: readonly OnClass[]): string[] {
  return classes.map((c) =>
    c.on_class === null
      ? `${c.class_name}: the map is empty.`
      : `${c.class_name}: ${formatPercent(c.on_class)} of the map lies on it${c.in_band === null ? "" : `, ${formatPercent(c.in_band)} near borders`}.`,
  );
}

function attentionLines(layer: CaseExplanation["attention"]): string[] {
  if (!layer) return [NOT_ASKED];
  return [
    `By ${METHODS[layer.method] ?? layer.method}, ${layer.source}.`,
    ...onClass(layer.classes),
    ...layer.notes,
  ];
}

function saliencyLines(layer: CaseExplanation["saliency"]): string[] {
  if (!layer) return [NOT_ASKED];
  return [`By integrated gradients from empty glass, ${layer.steps} steps.`, ...onClass(layer.classes)];
}

function morphologyLines(layer: CaseExplanation["morphology"]): string[] {
  if (!layer) return [NOT_ASKED];
  const lines = layer.note ? [layer.note] : [];
  for (const vessel of layer.vessels) {
    if (vessel.predicted_vessel === null) lines.push(`Vessel ${vessel.vessel} was missed.`);
    for (const warning of vessel.predicted_checks) lines.push(`Vessel ${vessel.vessel}: ${warning}`);
  }
  if (layer.invented_vessels)
    lines.push(`${count(layer.invented_vessels, "vessel")} that the truth does not have.`);
  return lines.length ? lines : ["Every vessel was found, with its layers in order."];
}

/** Return the measures of the largest vessel, true and predicted, ready to show. */
export function measuresOf(found: CaseExplanation): { name: string; truth: string; predicted: string }[] {
  const written = (value: number | null, unit: string) =>
    value === null ? "not measured" : formatQuantity(value, unit);
  return (found.morphology?.vessels[0]?.measures ?? []).map(({ name, unit, truth, predicted }) => ({
    name,
    truth: written(truth, unit),
    predicted: written(predicted, unit),
  }));
}
