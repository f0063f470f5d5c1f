import { expect, test } from "vitest";
import { comparisonBody, missing, planBody, questionOf, sideOf } from "./question";

function of(values: Record<string, string>) {
  return questionOf(new URLSearchParams(values));
}

test("a side is a model of a benchmark, a published model, or pasted scores", () => {
  const url = new URLSearchParams({ a: "bmk_1/unet/b0", b: "model:phantom-unet@1" });
  expect(sideOf(url, "a")).toEqual({ kind: "benchmark", benchmark: "bmk_1", architecture: "unet/b0" });
  expect(sideOf(url, "b")).toEqual({ kind: "model", model: "phantom-unet@1" });
  expect(sideOf(new URLSearchParams({ a: "/unet" }), "a")).toEqual({ kind: "none" });
  expect(sideOf(new URLSearchParams({ a: "bmk_1/" }), "a")).toEqual({ kind: "none" });
});

test("an empty form says everything that is missing", () => {
  expect(missing(of({}))).toHaveLength(3);
});

test.each(["0", "-0.1", "two", ""])("margin %j cannot be asked", (margin) => {
  expect(missing(of({ a: "bmk_1/x", b: "bmk_1/y", margin }))).toEqual([
    "State the margin: a number above 0, in units of the metric.",
  ]);
});

test("pasted scores that are no numbers are named", () => {
  const found = missing(of({ a: "scores", as: "m1,good\nm2,bad", al: "mine", b: "bmk_1/y", margin: "0.02" }));
  expect(found).toHaveLength(1);
  expect(found[0]).toContain("Scores of mine");
});

test("a question becomes a request", () => {
  const question = of({ a: "bmk_1/x", b: "bmk_1/y", margin: "0.02", protocol: "loocv", class: "media" });
  expect(comparisonBody(question)).toEqual({
    a: { benchmark: "bmk_1", architecture: "x" },
    b: { benchmark: "bmk_1", architecture: "y" },
    metric: "dice",
    class: "media",
    margin: { value: 0.02, basis: "stated" },
    alpha: 0.05,
    protocol: "loocv",
  });
});

test("under a plan only the sides are stated, for the plan fixes the rest", () => {
  const question = of({ a: "bmk_1/x", b: "model:y", plan: "pln_1", metric: "iou" });
  expect(missing(question)).toEqual([]);
  expect(comparisonBody(question)).toEqual({
    a: { benchmark: "bmk_1", architecture: "x" },
    b: { model: "y" },
    plan: "pln_1",
  });
});

test("a plan names both models and holds no score", () => {
  const question = of({ a: "scores", as: "m1,0.5\nm2,0.6", b: "bmk_1/y", margin: "0.02" });
  expect(planBody(question, "First")).toMatchObject({ title: "First", models: ["a", "y"], metric: "dice" });
  expect(JSON.stringify(planBody(question, ""))).not.toContain("0.6");
});

test("pasted scores of folds share training subjects, and the request says so", () => {
  const lines = Array.from({ length: 9 }, (_, n) => `m${n},0.${n + 1}`).join("\n");
  const given = { a: "scores", as: lines, b: "scores", bs: lines, margin: "0.02" };
  expect(comparisonBody(of({ ...given, dep: "loocv" }))).toMatchObject({
    dependence: { protocol: "loocv", n_train: 8, n_test: 1, splits: 9 },
  });
  expect(comparisonBody(of({ ...given, dep: "kfold3" }))).toMatchObject({
    dependence: { n_train: 6, n_test: 3, splits: 3 },
  });
});
