/** The metrics of scores.csv as people read them: name, unit, which way is better, what it asks. */
export interface Metric {
  name: string;
  label: string;
  unit: string;
  /** null: a signed error, nearer to zero is better. */
  higherIsBetter: boolean | null;
  /** Whether it has a value for each class besides the mean over classes. */
  perClass: boolean;
  meaning: string;
}

export const METRICS: readonly Metric[] = [
  of(
    "dice",
    "Dice",
    "",
    true,
    true,
    "Overlap of mask and truth: 1 is perfect. Thin rings lose Dice by tiny shifts.",
  ),
  of(
    "tolerant_dice",
    "Tolerant Dice",
    "",
    true,
    true,
    "Dice once borders within 2 µm count as right: what is lost then is tissue.",
  ),
  of("iou", "IoU", "", true, true, "Overlap over union: 1 is perfect."),
  of("nsd", "Surface Dice", "", true, true, "Share of the border within tolerance of the true border."),
  of(
    "hd95",
    "Border distance",
    "µm",
    false,
    true,
    "95 in 100 border points lie within this distance of the true border.",
  ),
  of("im_error", "Error of I/M", "", false, false, "Absolute error of the intima/media ratio."),
  of(
    "stenosis_error",
    "Error of stenosis",
    "%",
    false,
    false,
    "Absolute error of the stenosis, in percentage points.",
  ),
  of("ece", "Calibration error", "", false, false, "How far stated confidence is from being right (ECE)."),
  of(
    "ece_foreground",
    "Calibration error, tissue",
    "",
    false,
    false,
    "The same over tissue only; background is easy and hides errors.",
  ),
  of("brier", "Brier score", "", false, false, "Squared distance of the probabilities from the truth."),
  of("area_error", "Error of area, signed", "", null, true, "Predicted area over true area, minus one."),
];

function of(
  name: string,
  label: string,
  unit: string,
  higherIsBetter: boolean | null,
  perClass: boolean,
  meaning: string,
): Metric {
  return { name, label, unit, higherIsBetter, perClass, meaning };
}

/** Return what is known of a metric; of an unknown one its name. */
export function metricOf(name: string): Metric {
  return METRICS.find((m) => m.name === name) ?? of(name, name, "", true, true, "");
}

/** Return "Dice, all classes" or "Dice, media". */
export function scoreLabel(metric: string, className: string): string {
  const known = metricOf(metric);
  if (!known.perClass) return known.label;
  return `${known.label}, ${className === "macro" ? "mean over classes" : className}`;
}

/** Return which way is better, in words. */
export function betterWhen(metric: string): string {
  const known = metricOf(metric).higherIsBetter;
  return known === null ? "nearer to zero is better" : known ? "higher is better" : "lower is better";
}

/** Return a protocol as one says it: "kfold3" as "3-fold cross-validation". */
export function protocolLabel(name: string): string {
  if (name === "loocv") return "Leave one subject out";
  if (name === "external") return "External data set";
  const folds = /^kfold(\d+)(?:x(\d+))?$/.exec(name);
  if (folds) return `${folds[1]}-fold cross-validation${folds[2] ? `, ${folds[2]} times` : ""}`;
  const imported = /^split(\d*)-(.+)$/.exec(name);
  return imported ? `Split "${imported[2]}"` : name;
}
