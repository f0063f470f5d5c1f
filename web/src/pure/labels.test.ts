import { expect, test } from "vitest";
import { apart } from "./labels";
import { sampleSd } from "./spread";

test("labels far from each other stay", () => {
  expect(apart([0.2, 0.9], 0.06)).toEqual([0.2, 0.9]);
});

test("labels at one height make room for each other, in their order", () => {
  const placed = apart([0.97, 1, 0.98], 0.06);
  expect(placed[1]).toBe(1);
  expect((placed[1] as number) - (placed[2] as number)).toBeCloseTo(0.06);
  expect((placed[2] as number) - (placed[0] as number)).toBeCloseTo(0.06);
});

test("a spread needs two values", () => {
  expect(sampleSd([1])).toBeNull();
  expect(sampleSd([1, 3])).toBeCloseTo(Math.SQRT2);
});
