import { expect, test } from "vitest";
import {
  fieldsOf,
  POWER_DEFAULTS,
  powerBody,
  powerPoints,
  STABILITY_DEFAULTS,
  stabilityBody,
} from "./request";

test("the URL wins over defaults, and what it does not know is left out", () => {
  const fields = fieldsOf(new URLSearchParams({ sd: "0.1", other: "x" }), POWER_DEFAULTS);
  expect(fields).toEqual({ ...POWER_DEFAULTS, sd: "0.1" });
});

test("defaults can be asked, and empty fields are not stated", () => {
  expect(powerBody(POWER_DEFAULTS).body).toEqual({
    sd_difference: 0.03,
    n: 9,
    margin: 0.02,
    true_difference: 0,
    alpha: 0.05,
    power: 0.8,
  });
  expect(stabilityBody(STABILITY_DEFAULTS).wrong).toBeNull();
});

test.each([
  ["sd", "0"],
  ["sd", ""],
  ["n", "1"],
  ["n", "9.5"],
  ["margin", "-1"],
  ["alpha", "0.5"],
  ["power", "1"],
  ["pilot", "1"],
  ["detect", "much"],
])("%s of %j is wrong, and only that", (name, value) => {
  const asked = powerBody({ ...POWER_DEFAULTS, [name]: value });
  expect(asked.body).toBeNull();
  expect(Object.keys(asked.wrong ?? {})).toEqual([name]);
});

test.each([
  ["gaps", "0"],
  ["gaps", "0.01, 0.02"],
  ["gaps", "0, x"],
  ["numbers", ""],
  ["numbers", "1, 9"],
  ["sets", "50"],
])("stability: %s of %j is wrong", (name, value) => {
  expect(Object.keys(stabilityBody({ ...STABILITY_DEFAULTS, [name]: value }).wrong ?? {})).toEqual([name]);
});

test("the curves are read from the figure's numbers", () => {
  expect(powerPoints("subjects,power_equivalence,power_difference\n2,0.04,0.07\n")).toEqual([
    { subjects: 2, equivalence: 0.04, difference: 0.07 },
  ]);
});
