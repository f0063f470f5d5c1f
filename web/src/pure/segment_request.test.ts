import { describe, expect, it } from "vitest";
import { idsIn, regionIn, regionText, together, wishIn } from "./segment_request";

describe("the URL", () => {
  it("names slides once each", () => expect(idsIn("a, b,a,,")).toEqual(["a", "b"]));
  it("holds a region and gives it back", () =>
    expect(regionText(regionIn("1,2,30,40") ?? { x: 0, y: 0, width: 0, height: 0 })).toBe("1,2,30,40"));
  it.each(["", "1,2,3", "1,2,3,x", "1,2,0,4", "-1,2,3,4", "1.5,2,3,4", null])("has no region in %s", (text) =>
    expect(regionIn(text)).toBeNull(),
  );
  it("takes nothing that is no choice", () => {
    const wish = wishIn(
      new URLSearchParams("sampler=magic&passes=-3&seed=x&precision=fp8&background=all"),
      "m@1",
    );
    expect(wish).toEqual({
      model: "m@1",
      region: null,
      uncertainty: { sampler: "auto", passes: null, seed: 0 },
      precision: "auto",
      background: "skip",
    });
  });
  it("takes what is", () => {
    const wish = wishIn(
      new URLSearchParams("model=n@2&sampler=tta&passes=8&seed=7&precision=int8&background=segment"),
      "m@1",
    );
    expect(wish.uncertainty).toEqual({ sampler: "tta", passes: 8, seed: 7 });
    expect([wish.model, wish.precision, wish.background]).toEqual(["n@2", "int8", "segment"]);
  });
});

describe("cost", () => {
  const known = { network_runs: 8, time: { low_s: 1, high_s: 2, basis: "measured" } };
  it("adds up", () =>
    expect(together([known, known])).toEqual({
      network_runs: 16,
      time: { low_s: 2, high_s: 4, basis: "measured" },
    }));
  it("names no time where one is not known", () =>
    expect(together([known, { network_runs: 1, time: null }]).time).toBeNull());
  it("of nothing is nothing known", () => expect(together([]).time).toBeNull());
});
