import { describe, expect, it } from "vitest";
import { labelOf, sorted } from "./measures";

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
