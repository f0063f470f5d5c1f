import { expect, test } from "vitest";
import { betterWhen, metricOf, protocolLabel, scoreLabel } from "./metrics";
import { agreementOfMethods, formatP, verdictTitle } from "./verdicts";

test("a verdict names the model that is better, and nobody where none is", () => {
  expect(verdictTitle("better_b", ["unet", "sam"])).toBe("sam is better");
  expect(verdictTitle("inconclusive", ["unet", "sam"])).toBe("Cannot tell");
});

test("dissent between methods is said", () => {
  expect(agreementOfMethods("equivalent", ["equivalent", "equivalent"])).toBe("All 2 methods say the same.");
  expect(agreementOfMethods("equivalent", ["equivalent", "inconclusive"])).toContain("1 of 2");
});

test("a p value is never written as zero", () => {
  expect(formatP(0)).toBe("< 0.001");
  expect(formatP(0.0312)).toBe("0.031");
  expect(formatP(0.469)).toBe("0.47");
});

test("metrics say their direction; an unknown one keeps its name", () => {
  expect(betterWhen("hd95")).toBe("lower is better");
  expect(betterWhen("area_error")).toBe("nearer to zero is better");
  expect(scoreLabel("dice", "media")).toBe("Dice, media");
  expect(scoreLabel("ece", "macro")).toBe("Calibration error");
  expect(metricOf("my_score").label).toBe("my_score");
});

test("protocols are said in words", () => {
  expect(protocolLabel("loocv")).toBe("Leave one subject out");
  expect(protocolLabel("kfold3")).toBe("3-fold cross-validation");
  expect(protocolLabel("kfold3x5")).toBe("3-fold cross-validation, 5 times");
  expect(protocolLabel("split3-mine")).toBe('Split "mine"');
  expect(protocolLabel("other")).toBe("other");
});
