import { describe, expect, it } from "vitest";
import { labelOf, sorted, worded } from "./measures";

describe("measures", () => {
  it("are named in the words of the field", () => {
    expect(labelOf("intima_media_ratio")).toBe("Intima/media ratio");
    expect(labelOf("media_eccentricity")).toBe("Media eccentricity");
  });
  it("come with the most reported first, none lost", () => {
    const given = ["media_eccentricity", "stenosis", "lumen_area"].map((name) => ({ name }));
    const [first, others] = sorted(given);
    expect(first.map((m) => m.name)).toEqual(["lumen_area", "stenosis"]);
    expect(others.map((m) => m.name)).toEqual(["media_eccentricity"]);
  });
});

describe("a warning", () => {
  it("names measures in words", () => {
    expect(worded("media_thickness_min is undefined: the ring is open.").text).toBe(
      "media thickness, smallest is undefined: the ring is open.",
    );
  });
  it("has a long list set apart", () => {
    expect(worded("Undefined in 3 of 8 passes: iel_area, stenosis, eel_area, intima_media_ratio.")).toEqual({
      text: "Undefined in 3 of 8 passes",
      measures: [
        "Area within the inner elastic lamina",
        "Stenosis",
        "Area within the outer elastic lamina",
        "Intima/media ratio",
      ],
    });
  });
  it("keeps a short one, and prose behind a colon", () => {
    expect(worded("Undefined: stenosis, iel_area.").measures).toEqual([]);
    expect(worded("Look: here, there, and, Everywhere.").measures).toEqual([]);
  });
});
