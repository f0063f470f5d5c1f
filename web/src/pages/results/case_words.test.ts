import { expect, test } from "vitest";
import { type CaseExplanation, layersOf, measuresOf } from "./case_words";

const NOTHING: CaseExplanation = {
  error: null,
  uncertainty: null,
  attention: null,
  saliency: null,
  morphology: null,
};

test("a layer that was left out says so", () => {
  const layers = layersOf(NOTHING);
  expect(layers).toHaveLength(5);
  expect(new Set(layers.flatMap((l) => l.lines))).toEqual(new Set(["This layer was not asked for."]));
});

test("a perfect mask has no share of nothing", () => {
  const error = { pixels: 0, share: 0, unit: "µm", band: 5, displaced_errors: 0, pairs: [] };
  expect(layersOf({ ...NOTHING, error })[0]?.lines).toEqual(["No pixel is wrong."]);
});

test("displaced borders are told from tissue", () => {
  const pairs = [{ truth: "media", predicted: "neointima", share: 0.8 }];
  const error = { pixels: 100, share: 0.07, unit: "µm", band: 5, displaced_errors: 25, pairs };
  const lines = layersOf({ ...NOTHING, error })[0]
    ?.lines.join(" ")
    .replaceAll("\u202f", " ");
  expect(lines).toContain("25 % of that are borders drawn within 5 µm");
  expect(lines).toContain("media called neointima, 80 %");
});

test("missed and invented vessels are counted, and what has no value says so", () => {
  const measures = [{ name: "I/M", unit: "", truth: 0.5, predicted: null }];
  const morphology = {
    note: "",
    invented_vessels: 3,
    vessels: [{ vessel: 1, predicted_vessel: null, measures, predicted_checks: ["open media"] }],
  };
  const found = { ...NOTHING, morphology };
  expect(layersOf(found)[4]?.lines).toEqual([
    "Vessel 1 was missed.",
    "Vessel 1: open media",
    "3 vessels that the truth does not have.",
  ]);
  expect(measuresOf(found)).toEqual([{ name: "I/M", truth: "0.5", predicted: "not measured" }]);
});
