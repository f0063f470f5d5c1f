import { expect, it } from "vitest";
import { axesOf, history, placeOn, runningBest, type TrialLike } from "./search_history";

function trial(number: number, value: number | null, more: Partial<TrialLike> = {}): TrialLike {
  return { number, value, state: "done", parameters: {}, pruned: false, curve: [], ...more };
}

it("shows pruned trials by their last score, and never as the best", () => {
  const points = history([
    trial(0, 0.5),
    trial(1, null, { pruned: true, curve: [{ step: 1, value: 0.9 }] }),
    trial(2, null),
    trial(3, 0.7),
  ]);
  expect(points.map((p) => p.number)).toEqual([0, 1, 3]);
  expect(runningBest(points).map((p) => p.best)).toEqual([0.5, 0.5, 0.7]);
});

it("has no best before the first finished trial", () => {
  expect(runningBest([{ number: 0, value: 0.9, pruned: true }])).toEqual([]);
});

it("puts numbers of many sizes on a log axis and names in order", () => {
  const trials = [1e-4, 1e-3, 1e-1].map((rate, n) =>
    trial(n, 0, { parameters: { rate, optimiser: n ? "sgd" : "adamw", width: 8 } }),
  );
  const [rate, optimiser, width] = axesOf(trials);
  if (!rate || !optimiser || !width) throw new Error("three axes");
  expect(rate.log).toBe(true);
  expect(placeOn(rate, 1e-3)).toBeCloseTo(1 / 3);
  expect([placeOn(optimiser, "adamw"), placeOn(optimiser, "sgd")]).toEqual([0, 1]);
  expect(placeOn(width, 8)).toBe(0.5);
});
