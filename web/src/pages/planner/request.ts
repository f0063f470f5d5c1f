/** What the planner asks, from the fields of its form; fields are text as typed. */
import { parseCsv } from "../../pure/scores";

export type Fields = Record<string, string>;

export const POWER_DEFAULTS: Fields = {
  sd: "0.03",
  pilot: "",
  n: "9",
  margin: "0.02",
  diff: "0",
  detect: "",
  protocol: "",
  alpha: "0.05",
  power: "0.8",
};

export const STABILITY_DEFAULTS: Fields = {
  gaps: "0, 0.01, 0.02",
  mean: "0.85",
  spread: "0.08",
  sd: "0.05",
  failures: "0",
  numbers: "5, 9, 15, 20, 30, 50, 100",
  sets: "400",
  seed: "0",
};

/** Return the fields of a form: what the URL says, and defaults for the rest. */
export function fieldsOf(url: URLSearchParams, defaults: Fields): Fields {
  return Object.fromEntries(Object.entries(defaults).map(([name, value]) => [name, url.get(name) ?? value]));
}

export type Asked = { body: object; wrong: null } | { body: null; wrong: Fields };

/** Return the body of POST /v1/power, or what is wrong by field. */
export function powerBody(fields: Fields): Asked {
  const wrong: Fields = {};
  const positive = (name: string) => number(fields, name, wrong, (v) => v > 0, "Give a number above 0.");
  const body = {
    sd_difference: positive("sd"),
    n: number(fields, "n", wrong, (v) => Number.isInteger(v) && v >= 2, "Give a whole number from 2 up."),
    margin: positive("margin"),
    true_difference: number(fields, "diff", wrong, () => true, "Give a number."),
    alpha: number(fields, "alpha", wrong, (v) => v > 0 && v < 0.5, "Between 0 and 0.5."),
    power: number(fields, "power", wrong, (v) => v > 0 && v < 1, "Between 0 and 1."),
    ...(fields.pilot
      ? {
          sd_measured_on: number(
            fields,
            "pilot",
            wrong,
            (v) => Number.isInteger(v) && v >= 2,
            "A whole number from 2 up.",
          ),
        }
      : {}),
    ...(fields.detect ? { detect: positive("detect") } : {}),
    ...(fields.protocol ? { protocol: fields.protocol } : {}),
  };
  return Object.keys(wrong).length ? { body: null, wrong } : { body, wrong: null };
}

/** Return the body of POST /v1/stability, or what is wrong by field. */
export function stabilityBody(fields: Fields): Asked {
  const wrong: Fields = {};
  const gaps = listOf(fields, "gaps", wrong);
  if (!wrong.gaps && gaps.length < 2) wrong.gaps = "Give at least two models.";
  if (!wrong.gaps && !gaps.includes(0)) wrong.gaps = "The best model has a gap of 0.";
  const numbers = listOf(fields, "numbers", wrong);
  if (
    !wrong.numbers &&
    (numbers.length === 0 || numbers.some((n) => !Number.isInteger(n) || n < 2 || n > 1000))
  )
    wrong.numbers = "Whole numbers from 2 to 1000, with commas.";
  const body = {
    gaps,
    mean: number(fields, "mean", wrong, (v) => v > 0 && v < 1, "Between 0 and 1."),
    sd: number(fields, "spread", wrong, (v) => v > 0 && v <= 0.5, "Between 0 and 0.5."),
    sd_difference: number(fields, "sd", wrong, (v) => v > 0 && v <= 0.7, "Between 0 and 0.7."),
    failure_rate: number(fields, "failures", wrong, (v) => v >= 0 && v <= 0.5, "Between 0 and 0.5."),
    numbers,
    data_sets: number(fields, "sets", wrong, (v) => v >= 100 && v <= 8000, "Between 100 and 8000."),
    seed: number(fields, "seed", wrong, Number.isInteger, "A whole number."),
  };
  return Object.keys(wrong).length ? { body: null, wrong } : { body, wrong: null };
}

function number(
  fields: Fields,
  name: string,
  wrong: Fields,
  holds: (v: number) => boolean,
  hint: string,
): number {
  const text = fields[name] ?? "";
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || !holds(value)) wrong[name] = hint;
  return value;
}

function listOf(fields: Fields, name: string, wrong: Fields): number[] {
  const parts = (fields[name] ?? "").split(/[\s,;]+/).filter(Boolean);
  const values = parts.map(Number);
  if (values.some((v) => !Number.isFinite(v) || v < 0)) wrong[name] = "Numbers with commas between them.";
  return values;
}

export interface PowerPoint {
  subjects: number;
  equivalence: number;
  difference: number;
}

/** Return the curves of power_curves.csv. */
export function powerPoints(csv: string): PowerPoint[] {
  return parseCsv(csv)
    .slice(1)
    .map(([subjects, equivalence, difference]) => ({
      subjects: Number(subjects),
      equivalence: Number(equivalence),
      difference: Number(difference),
    }));
}
