/** What a running benchmark looks like: who is how far, the curves, the log in words. */

export interface UnitLike {
  key: string;
  kind: string;
  state: string;
}

export interface TrainingLike {
  unit: string;
  kind: string;
  state: string;
  model: string;
  number?: number | null;
  value: number | null;
  pruned: boolean;
  fold: number | null;
  losses: readonly { step: number; loss: number }[];
}

export interface Share {
  done: number;
  total: number;
}

/** The kinds of units of a contender, in the order they come, and what each does. */
export const STAGES: readonly { kind: string; title: string; about: string }[] = [
  { kind: "trial", title: "Search", about: "trainings that try parameters on the inner split" },
  { kind: "fold", title: "Folds", about: "trainings that are scored on subjects nobody has seen" },
  { kind: "external", title: "External", about: "scores on the second data set" },
  { kind: "fit", title: "Final", about: "members of the ensemble, trained on all data" },
  { kind: "publish", title: "Model", about: "exported, checked and published" },
];

/** Return the contender a unit belongs to; "" for what belongs to all. */
export function contenderOf(key: string): string {
  const at = key.indexOf("/");
  return at < 0 ? "" : key.slice(0, at);
}

/** Return by contender and kind how many units are done, in the order of the plan. */
export function progressByContender(units: readonly UnitLike[]): Map<string, Map<string, Share>> {
  const found = new Map<string, Map<string, Share>>();
  for (const unit of units) {
    const contender = contenderOf(unit.key);
    if (!contender) continue;
    const stages = found.get(contender) ?? new Map<string, Share>();
    const share = stages.get(unit.kind) ?? { done: 0, total: 0 };
    stages.set(unit.kind, {
      done: share.done + (unit.state === "done" ? 1 : 0),
      total: share.total + 1,
    });
    found.set(contender, stages);
  }
  return found;
}

/** Return how many units are in each state, those with none left out. */
export function byState(units: readonly UnitLike[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const unit of units) counts.set(unit.state, (counts.get(unit.state) ?? 0) + 1);
  const order = ["done", "running", "ready", "waiting", "failed", "skipped", "canceled"];
  return order.flatMap((state): [string, number][] => {
    const n = counts.get(state) ?? 0;
    return n ? [[state, n]] : [];
  });
}

/** Return the mean of a contender's folds that are scored so far; null before the first. */
export function meanOfFolds(
  rows: readonly TrainingLike[],
  contender: string,
): { mean: number; folds: number } | null {
  const values = rows
    .filter((r) => r.kind === "fold" && r.model === contender && r.value !== null)
    .map((r) => r.value ?? 0);
  if (!values.length) return null;
  return { mean: values.reduce((a, b) => a + b, 0) / values.length, folds: values.length };
}

export interface TrialPoint {
  contender: string;
  /** 1, 2, ... among the contender's trials of all its searches, in the order of the plan. */
  place: number;
  value: number;
  unit: string;
}

/** Return the inner scores of each contender's trials in the order of the plan. */
export function trialPoints(rows: readonly TrainingLike[]): TrialPoint[] {
  const places = new Map<string, number>();
  return rows
    .filter((r) => r.kind === "trial" && r.value !== null)
    .map((r) => {
      const place = (places.get(r.model) ?? 0) + 1;
      places.set(r.model, place);
      return { contender: r.model, place, value: r.value ?? 0, unit: r.unit };
    });
}

export interface LossLine {
  contender: string;
  unit: string;
  step: number;
  loss: number;
}

/** Return the training losses of each contender's newest trainings, those that run first; at most `most` of each. */
export function lossLines(rows: readonly TrainingLike[], most: number): LossLine[] {
  const by = new Map<string, TrainingLike[]>();
  for (const row of rows) if (row.losses.length) by.set(row.model, [...(by.get(row.model) ?? []), row]);
  const chosen = [...by.values()].flatMap((all) => {
    const running = all.filter((r) => r.state === "running");
    const rest = all.filter((r) => r.state !== "running").reverse();
    return [...running, ...rest].slice(0, most);
  });
  return chosen.flatMap((row) =>
    row.losses.map((p) => ({ contender: row.model, unit: row.unit, step: p.step, loss: p.loss })),
  );
}

const WORDS: Record<string, string> = {
  final: "all data",
  fold: "scored",
  publish: "published",
  external: "external scores",
};
/** Parts of a key that are a letter or a word with a number; numbers are those of the tables, from 0. */
const NUMBERED: readonly [RegExp, string, number][] = [
  [/^f(\d+)$/, "fold", 0],
  [/^r(\d+)$/, "repeat", 1],
  [/^s(\d+)$/, "seed", 1],
  [/^trial(\d+)$/, "trial", 0],
  [/^member(\d+)$/, "member", 0],
];

/** Return a unit's key in words: "unet: loocv, fold 2, trial 3". The first repeat and seed go without saying. */
export function unitInWords(key: string): string {
  const [contender = "", ...rest] = key.split("/");
  if (!rest.length) return key === "collect" ? "scores gathered" : key;
  return `${contender}: ${rest.map(partInWords).filter(Boolean).join(", ")}`;
}

function partInWords(part: string): string {
  const known = WORDS[part];
  if (known) return known;
  for (const [pattern, name, least] of NUMBERED) {
    const number = pattern.exec(part)?.[1];
    if (number !== undefined) return Number(number) >= least ? `${name} ${number}` : "";
  }
  return part;
}

/** Return the message of a job with the key of its unit in words. */
export function messageInWords(message: string): string {
  const at = message.indexOf(": ");
  const key = message.slice(0, at);
  return at > 0 && key.includes("/") && !key.includes(" ")
    ? `${unitInWords(key)}: ${message.slice(at + 2)}`
    : message;
}

export interface LogLine {
  id: string;
  text: string;
  tone: "" | "good" | "bad";
}

/** Return an event of a job in words; null for what only repeats the state. */
export function logLine(id: string, type: string, data: Record<string, unknown>): LogLine | null {
  const unit = typeof data.unit === "string" ? unitInWords(data.unit) : "";
  const message = typeof data.message === "string" ? data.message : "";
  if (type === "progress") return { id, text: `${unit}: ${message}`, tone: "" };
  if (type === "state") return { id, text: `The job is ${String(data.state)}.`, tone: "" };
  if (type === "log") return { id, text: message, tone: "" };
  if (type !== "unit") return null;
  const state = String(data.state);
  const again = Number(data.attempt) > 1 ? ` (attempt ${Number(data.attempt)})` : "";
  if (message)
    return {
      id,
      text: `${unit} ${state === "ready" ? "failed and is tried again" : state}${again}: ${message}`,
      tone: "bad",
    };
  const words = state === "running" ? "started" : state;
  return { id, text: `${unit} ${words}${again}`, tone: state === "done" ? "good" : "" };
}

/** Return the name of a worker as a person reads it: its process, and where it runs. */
export function workerName(owner: string): string {
  const parts = owner.split("/");
  const [boot = "", , pid = ""] = parts;
  if (parts.length >= 4 && pid) return `process ${pid} on ${boot.slice(0, 8)}`;
  return owner.length > 40 ? `${owner.slice(0, 40)}…` : owner || "unnamed";
}
