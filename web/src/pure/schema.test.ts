import { describe, expect, it } from "vitest";
import {
  alternatives,
  type Definitions,
  describedBy,
  errorsByField,
  fieldOf,
  fresh,
  numbersIn,
  type Schema,
  shapeOf,
  spoken,
  titleOf,
} from "./schema";

const definitions: Definitions = {
  Spec: {
    type: "object",
    required: ["dataset", "protocols"],
    properties: {
      dataset: { type: "string", title: "Dataset" },
      protocols: {
        type: "array",
        items: {
          oneOf: [{ $ref: "#/components/schemas/KFold" }, { $ref: "#/components/schemas/LeaveOneOut" }],
          discriminator: {
            propertyName: "kind",
            mapping: {
              kfold: "#/components/schemas/KFold",
              loocv: "#/components/schemas/LeaveOneOut",
            },
          },
        },
      },
      search: { $ref: "#/components/schemas/Search", default: { trials: null }, description: "How." },
      seeds: { type: "array", items: { type: "integer" }, default: [0] },
      vary: { type: "array", items: { type: "string", enum: ["split", "init"] } },
      weights: { anyOf: [{ type: "string", enum: ["imagenet", "random"] }, { type: "null" }], default: null },
    },
  },
  KFold: {
    type: "object",
    required: ["kind"],
    properties: {
      kind: { const: "kfold", title: "k folds" },
      k: { type: "integer", default: 3, minimum: 2 },
    },
  },
  LeaveOneOut: { type: "object", required: ["kind"], properties: { kind: { const: "loocv" } } },
  Search: {
    type: "object",
    properties: {
      trials: { anyOf: [{ type: "integer", minimum: 0 }, { type: "null" }], default: null },
      space: { type: "object", default: {} },
    },
  },
};
const spec: Schema = { $ref: "#/components/schemas/Spec" };
const properties = definitions.Spec?.properties ?? {};

describe("shapes of fields", () => {
  it.each([
    ["dataset", "text", false],
    ["protocols", "list", false],
    ["search", "object", false],
    ["seeds", "numbers", false],
    ["vary", "several", false],
    ["weights", "choice", true],
  ])("%s is %s", (name, kind, nullable) => {
    const shape = shapeOf(properties[name] ?? {}, definitions);
    expect([shape.kind, shape.nullable]).toEqual([kind, nullable]);
  });

  it("keeps limits of what may be null, and what is said beside a reference", () => {
    const trials = shapeOf(definitions.Search?.properties?.trials ?? {}, definitions);
    expect([trials.kind, trials.nullable, trials.schema.minimum]).toEqual(["number", true, 0]);
    expect(describedBy(shapeOf(properties.search ?? {}, definitions).schema)).toBe("How.");
    expect(shapeOf({ type: "object", patternProperties: {} }, definitions).kind).toBe("json");
  });
});

describe("items of lists", () => {
  it("start with constants and defaults", () => {
    const kinds = alternatives(properties.protocols?.items ?? {}, definitions);
    expect([...kinds.keys()]).toEqual(["kfold", "loocv"]);
    expect(fresh(kinds.get("kfold") ?? {}, definitions)).toEqual({ kind: "kfold", k: 3 });
  });
});

describe("what is said", () => {
  it("leaves out defaults", () => {
    const value = { dataset: "d", seeds: [0], search: { trials: 5 }, weights: null };
    expect(spoken(value, spec, definitions)).toEqual({ dataset: "d", search: { trials: 5 } });
  });

  it("has titles a person reads", () => {
    expect(titleOf("input_px", { title: "Input Px" })).toBe("Input px");
    expect(titleOf("input_px", { title: "Input size (px)" })).toBe("Input size (px)");
    expect(describedBy({ description: "See ``a``,\n  b. Null takes 3." })).toBe("See a, b. Empty takes 3.");
    const search = shapeOf(
      { $ref: "#/components/schemas/Search" },
      { Search: { type: "object", title: "Search" } },
    );
    expect(search.schema.title).toBeUndefined();
  });

  it("reads numbers as people write them", () => {
    expect(numbersIn("0, 1 2;3")).toEqual([0, 1, 2, 3]);
    expect(numbersIn("")).toEqual([]);
    expect(numbersIn("0, x")).toBeNull();
  });
});

describe("pointers of errors", () => {
  it.each([
    ["/dataset", "/dataset"],
    ["/protocols/0/kfold/k", "/protocols/0/k"],
    ["/protocols/0", "/protocols/0"],
    ["/protocols", "/protocols"],
    ["/search/space/lr/Range/low", "/search/space"],
    ["/seeds/2", "/seeds/2"],
    ["/nowhere", ""],
    ["", ""],
  ])("%s is %s", (pointer, field) => {
    expect(fieldOf(pointer, spec, definitions)).toBe(field);
  });
});

it("places errors at fields, without those that only follow from others", () => {
  const errors = [
    { pointer: "/protocols/0/kfold/k", message: "too small" },
    { pointer: "/protocols", message: "too few" },
    { pointer: "/elsewhere", message: "strange" },
  ];
  const { placed, left } = errorsByField(errors, spec, definitions);
  expect([...placed]).toEqual([["/protocols/0/k", "too small"]]);
  expect(left).toEqual(["/elsewhere: strange"]);
});
