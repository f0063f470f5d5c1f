/** A comparison as the URL says it, and as the stats service takes it. */
import { parseScores } from "../../pure/scores";
import type { Basis } from "../../pure/verdicts";

export type SideName = "a" | "b";

export type Side =
  | { kind: "none" }
  | { kind: "benchmark"; benchmark: string; architecture: string }
  | { kind: "model"; model: string }
  | { kind: "scores"; text: string; label: string };

export interface Question {
  a: Side;
  b: Side;
  metric: string;
  class: string;
  protocol: string | null;
  margin: string;
  basis: Basis;
  alpha: string;
  plan: string | null;
  /** How pasted scores were made: "" (independent), "loocv" or "kfoldK". */
  dependence: string;
}

export const OWN_SCORES = "scores";
/** Characters of pasted scores that fit into an address. */
export const MOST_PASTED = 20_000;

/** Return one side of the URL: "bmk_1/unet", "model:name@version" or "scores". */
export function sideOf(url: URLSearchParams, name: SideName): Side {
  const text = url.get(name) ?? "";
  if (text === OWN_SCORES)
    return { kind: "scores", text: url.get(`${name}s`) ?? "", label: url.get(`${name}l`) ?? "" };
  if (text.startsWith("model:")) return { kind: "model", model: text.slice("model:".length) };
  const at = text.indexOf("/");
  if (at < 1 || at === text.length - 1) return { kind: "none" };
  return { kind: "benchmark", benchmark: text.slice(0, at), architecture: text.slice(at + 1) };
}

export function questionOf(url: URLSearchParams): Question {
  const basis = url.get("basis");
  return {
    a: sideOf(url, "a"),
    b: sideOf(url, "b"),
    metric: url.get("metric") ?? "dice",
    class: url.get("class") ?? "macro",
    protocol: url.get("protocol"),
    margin: url.get("margin") ?? "",
    basis: basis === "inter_observer" || basis === "endpoint" ? basis : "stated",
    alpha: url.get("alpha") ?? "0.05",
    plan: url.get("plan"),
    dependence: url.get("dep") ?? "",
  };
}

/** Return what the verdict will call a side. */
export function labelOf(side: Side, name: SideName): string {
  if (side.kind === "benchmark") return side.architecture;
  if (side.kind === "model") return side.model;
  return side.kind === "scores" && side.label ? side.label : name;
}

/** Return what is missing before this can be asked, in the order of the form; empty: nothing. */
export function missing(question: Question): string[] {
  const wrong = (["a", "b"] as const).flatMap((name) => wrongWithSide(question[name], name));
  if (question.plan !== null) return wrong;
  if (!(Number(question.margin) > 0))
    wrong.push("State the margin: a number above 0, in units of the metric.");
  if (!(Number(question.alpha) > 0 && Number(question.alpha) < 0.5))
    wrong.push("Alpha lies between 0 and 0.5.");
  return wrong;
}

function wrongWithSide(side: Side, name: SideName): string[] {
  if (side.kind === "none") return [`Choose model ${name}.`];
  if (side.kind !== "scores") return [];
  const found = wrongWithScores(side.text);
  return found ? [`Scores of ${labelOf(side, name)}: ${found}`] : [];
}

/** Return what is wrong with pasted scores; undefined: nothing. */
export function wrongWithScores(text: string): string | undefined {
  if (text.length > MOST_PASTED)
    return "This is too long for an address. Send it to POST /v1/comparisons instead (Same by API).";
  try {
    parseScores(text);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Return the body of POST /v1/comparisons; under a plan it names only the two sides. */
export function comparisonBody(question: Question): object {
  const sides = { a: contender(question.a, "a"), b: contender(question.b, "b") };
  if (question.plan !== null) return { ...sides, plan: question.plan };
  return { ...sides, ...settings(question) };
}

/** Return the body of POST /v1/plans: the same question, without scores. */
export function planBody(question: Question, title: string): object {
  const models = [labelOf(question.a, "a"), labelOf(question.b, "b")];
  return { title, models, ...settings(question) };
}

function settings(question: Question): object {
  const dependence = dependenceOf(question);
  return {
    metric: question.metric,
    class: question.class,
    margin: { value: Number(question.margin), basis: question.basis },
    alpha: Number(question.alpha),
    ...(question.protocol ? { protocol: question.protocol } : {}),
    ...(dependence ? { dependence } : {}),
  };
}

function contender(side: Side, name: SideName): object {
  if (side.kind === "benchmark") return { benchmark: side.benchmark, architecture: side.architecture };
  if (side.kind === "model") return { model: side.model };
  if (side.kind === "none") return {};
  return { ...parseScores(side.text), label: labelOf(side, name) };
}

/** Return how training sets of pasted scores overlap; null: independent, or a benchmark says it. */
function dependenceOf(question: Question): object | null {
  const { a } = question;
  if (a.kind !== "scores" || question.dependence === "") return null;
  const subjects = new Set(parseScores(a.text).subjects).size;
  const folds = question.dependence === "loocv" ? subjects : Number(question.dependence.replace("kfold", ""));
  const splits = Math.max(2, folds);
  const test = Math.max(1, Math.round(subjects / splits));
  return {
    protocol: question.dependence,
    n_train: Math.max(1, subjects - test),
    n_test: test,
    splits,
  };
}
