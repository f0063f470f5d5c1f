/** What a segmentation is asked for with, read from and written to the page's URL. */
export type Sampler = "auto" | "ensemble" | "tta" | "mc_dropout" | "none";
export type Precision = "auto" | "fp32" | "fp16" | "int8";

export interface Region {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface SegmentationWish {
  model: string;
  region: Region | null;
  uncertainty: { sampler: Sampler; passes: number | null; seed: number };
  precision: Precision;
  background: "skip" | "segment";
}

export const SAMPLERS: readonly { key: Sampler; label: string; about: string }[] = [
  {
    key: "auto",
    label: "Automatic",
    about: "The members of the model where it has several, else rotated and mirrored views.",
  },
  {
    key: "ensemble",
    label: "Ensemble",
    about: "Several networks trained apart; needs a model with two members or more.",
  },
  { key: "tta", label: "Views", about: "The same network on rotated and mirrored tiles." },
  {
    key: "mc_dropout",
    label: "Dropout",
    about:
      "Random draws before the last layer; needs a model published with a dropout rate. Nearly as fast as one pass.",
  },
  { key: "none", label: "None", about: "One pass, fastest; no uncertainty, no interval that rests on it." },
];

/** Return the ids of a list in the URL, each once. */
export function idsIn(text: string | null): string[] {
  return [
    ...new Set(
      (text ?? "")
        .split(",")
        .map((id) => id.trim())
        .filter(Boolean),
    ),
  ];
}

/** Return the region "x,y,width,height" stands for; null for anything else. */
export function regionIn(text: string | null): Region | null {
  const numbers = (text ?? "").split(",").map(Number);
  const [x, y, width, height] = numbers;
  if (numbers.length !== 4 || numbers.some((n) => !Number.isInteger(n) || n < 0)) return null;
  return x !== undefined && y !== undefined && width && height ? { x, y, width, height } : null;
}

export function regionText(region: Region): string {
  return [region.x, region.y, region.width, region.height].join(",");
}

/** Return what the URL asks for; `fallback` is the model where it names none. */
export function wishIn(parameters: URLSearchParams, fallback: string): SegmentationWish {
  const sampler = parameters.get("sampler") as Sampler | null;
  const passes = Number(parameters.get("passes"));
  const seed = Number(parameters.get("seed"));
  const precision = parameters.get("precision") as Precision | null;
  return {
    model: parameters.get("model") ?? fallback,
    region: regionIn(parameters.get("region")),
    uncertainty: {
      sampler: sampler && SAMPLERS.some((s) => s.key === sampler) ? sampler : "auto",
      passes: Number.isInteger(passes) && passes > 0 ? passes : null,
      seed: Number.isInteger(seed) && seed > 0 ? seed : 0,
    },
    precision: precision && ["fp32", "fp16", "int8"].includes(precision) ? precision : "auto",
    background: parameters.get("background") === "segment" ? "segment" : "skip",
  };
}

export interface SlideCost {
  network_runs: number;
  time: { low_s: number; high_s: number; basis: string } | null;
}

/** Return the costs of several slides together; the time is null where one slide's is not known. */
export function together(costs: readonly SlideCost[]): SlideCost {
  const times = costs.map((c) => c.time).filter((t): t is NonNullable<typeof t> => t !== null);
  return {
    network_runs: costs.reduce((sum, c) => sum + c.network_runs, 0),
    time:
      times.length === costs.length && times[0]
        ? {
            low_s: times.reduce((s, t) => s + t.low_s, 0),
            high_s: times.reduce((s, t) => s + t.high_s, 0),
            basis: times[0].basis,
          }
        : null,
  };
}
