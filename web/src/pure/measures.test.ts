import { describe, expect, it } from "vitest";
import { inWords, labelOf, sorted } from "./measures";

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

it("writes the names in a warning as words, and leaves other warnings alone", () => {
  const warning =
    "Undefined in 3 of 8 passes, so the interval rests on the other 5: iel_area, intima_media_ratio.";
  expect(inWords(warning)).toBe(
    "Undefined in 3 of 8 passes, so the interval rests on the other 5: area within the inner elastic lamina; intima/media ratio.",
  );
  expect(inWords("The media is open: 12 % of its ring.")).toBe("The media is open: 12 % of its ring.");
});
