import { expect, it } from "vitest";
import { coverOf, turnInWords, turnOf } from "./likeness";

it.each([
  [0, "rotate(0deg)", "not turned"],
  [1, "rotate(-90deg)", "turned by 90°"],
  [4, "rotate(0deg) scaleX(-1)", "mirrored"],
  [7, "rotate(-270deg) scaleX(-1)", "mirrored and turned by 270°"],
])("view %i", (view, css, words) => {
  expect(turnOf(view).replace("-0deg", "0deg")).toBe(css);
  expect(turnInWords(view)).toBe(words);
});

it("cuts what lies outside", () => {
  const a = { width: 200, height: 100 };
  expect(coverOf(a, { width: 100, height: 100 }, [150, -50], 0)).toEqual({
    left: 0.75,
    top: 0,
    width: 0.25,
    height: 0.5,
  });
  expect(coverOf(a, { width: 50, height: 100 }, [0, 0], 1)).toEqual({
    left: 0,
    top: 0,
    width: 0.5,
    height: 0.5,
  });
});
