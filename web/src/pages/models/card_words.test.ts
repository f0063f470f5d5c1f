import { expect, test } from "vitest";
import type { ApiShape } from "../../api/types";
import {
  cautions,
  equivalenceText,
  figureLabel,
  groupLabel,
  reliabilityPoints,
  residualText,
} from "./card_words";

const card = {
  synthetic: false,
  imported: false,
  leakage_override: null,
  evidence: {},
} as ApiShape<"ModelCard">;

test("a sound card has nothing to be careful about", () => {
  expect(cautions(card)).toEqual([]);
});

test("synthetic data, leaks, imports and missing evidence are said", () => {
  const found = cautions({
    ...card,
    synthetic: true,
    imported: true,
    leakage_override: "same block",
    evidence: null,
  });
  expect(found).toHaveLength(4);
  expect(found[0]?.title).toContain("SYNTHETIC");
  expect(found[1]?.text).toContain("same block");
});

test("empty bins are no points", () => {
  const points = reliabilityPoints({ pixels: [0, 10], right: [0, 8], confidence: [0, 9] });
  expect(points).toEqual([{ pixels: 10, confidence: 0.9, right: 0.8 }]);
});

test("names of figures and groups are words", () => {
  expect(figureLabel("ece_class:media")).toBe("Calibration error, media");
  expect(figureLabel("new_one")).toBe("new_one");
  expect(groupLabel("class:lumen")).toBe("lumen against the rest");
});

const residual = {
  name: "x",
  floor: 0,
  unit: "um",
  subjects: 9,
  sections: 9,
  base: 1,
  factor: 1,
  reason: "",
};

test("an error on the log scale is one in percent, and a missing one has its reason", () => {
  expect(residualText({ ...residual, scale: "log", bias: 0, sd: Math.log(1.1) })).toContain("10\u202f%");
  expect(residualText({ ...residual, scale: "plain", bias: -2, sd: 3 })).toContain("-2\u202fµm");
  expect(residualText({ ...residual, scale: "log", bias: null, sd: null, reason: "2 subjects" })).toBe(
    "not measured: 2 subjects",
  );
});

test("a smaller network that was not compared is not called equal", () => {
  expect(equivalenceText(null)).toBe("not measured");
  expect(
    equivalenceText({
      margin: 0.005,
      subjects: 9,
      loss: 0.004,
      ci90: [-0.001, 0.008],
      verdict: "inconclusive",
    }),
  ).toContain("cannot tell within ±0.005");
});
