import { expect, test } from "vitest";
import { noiseSentence } from "./noise";

const gap = { splits: 3, mean: 0.012, ci95: null };
const noise = {
  model: "unet",
  protocol: "loocv",
  refitted: { ...gap, ci95_corrected: null },
  optimistic: false,
};

test("an interval that holds zero shows nothing", () => {
  const found = noiseSentence({ ...noise, selection: { ...gap, ci95_corrected: [-0.1, 0.15] } });
  expect(found).toContain("0.012 Dice higher");
  expect(found).toContain("do not show");
});

test("an interval above zero says that the search flatters", () => {
  expect(noiseSentence({ ...noise, selection: { ...gap, ci95_corrected: [0.001, 0.02] } })).toContain(
    "flatters",
  );
});

test("one split has no interval, and a flat search no gap", () => {
  expect(noiseSentence({ ...noise, selection: { ...gap, ci95_corrected: null } })).toContain(
    "one split alone",
  );
  expect(noiseSentence({ ...noise, selection: null })).toContain("cannot be told");
});
