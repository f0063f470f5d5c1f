/** The history of one search, as its charts show it. */

export type ParameterValue = number | string;

export interface TrialLike {
  number: number;
  state: string;
  parameters: Readonly<Record<string, ParameterValue>>;
  value: number | null;
  pruned: boolean;
  curve: readonly { step: number; value: number }[];
}

export interface HistoryPoint {
  number: number;
  /** The inner score; of a pruned trial the last it reached. */
  value: number;
  pruned: boolean;
}

/** Return the trials that have a score, pruned ones by the last score they reached. */
export function history(trials: readonly TrialLike[]): HistoryPoint[] {
  return trials.flatMap((t) => {
    const value = t.value ?? (t.pruned ? t.curve.at(-1)?.value : undefined);
    return value === undefined || value === null ? [] : [{ number: t.number, value, pruned: t.pruned }];
  });
}

/** Return the best finished score up to each trial. */
export function runningBest(points: readonly HistoryPoint[]): { number: number; best: number }[] {
  let best = Number.NEGATIVE_INFINITY;
  return points.flatMap((p) => {
    if (!p.pruned) best = Math.max(best, p.value);
    return Number.isFinite(best) ? [{ number: p.number, best }] : [];
  });
}

export interface Axis {
  name: string;
  /** Numbers on a log scale where they span more than a factor of 50. */
  log: boolean;
  /** Names in order where values are names. */
  names: readonly string[] | null;
  low: number;
  high: number;
}

/** Return an axis for each parameter that more than one trial has. */
export function axesOf(trials: readonly TrialLike[]): Axis[] {
  const names = [...new Set(trials.flatMap((t) => Object.keys(t.parameters)))];
  return names.map((name) =>
    axisOf(
      name,
      trials.flatMap((t) => t.parameters[name] ?? []),
    ),
  );
}

function axisOf(name: string, values: readonly ParameterValue[]): Axis {
  const numbers = values.filter((v): v is number => typeof v === "number");
  if (numbers.length < values.length) {
    const order = [...new Set(values.map(String))].sort();
    return { name, log: false, names: order, low: 0, high: Math.max(1, order.length - 1) };
  }
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  return { name, log: low > 0 && high / low > 50, names: null, low, high };
}

/** Return where a value stands on an axis, 0 at the lower end and 1 at the upper. */
export function placeOn(axis: Axis, value: ParameterValue): number {
  const at = axis.names ? axis.names.indexOf(String(value)) : Number(value);
  if (axis.high === axis.low) return 0.5;
  if (axis.log) return Math.log(at / axis.low) / Math.log(axis.high / axis.low);
  return (at - axis.low) / (axis.high - axis.low);
}
