import { describe, expect, it } from "vitest";
import { directionOf, parseProfiles, rayAt } from "./thickness";

const CSV = `vessel,angle_deg,intima,media,unit,center_x_px,center_y_px
1,0.0,38.0,61.5,µm,369.3,382.0
1,90.0,39.0,,µm,369.3,382.0
1,270.0,40.0,62.0,µm,369.3,382.0
2,0.0,,,px,10,20
`;

describe("parseProfiles", () => {
  it("reads every vessel", () => {
    const [first, second] = parseProfiles(CSV);
    expect(first).toEqual({
      vessel: 1,
      unit: "µm",
      centre: { x: 369.3, y: 382 },
      rays: [
        { angle: 0, intima: 38, media: 61.5 },
        { angle: 90, intima: 39, media: null },
        { angle: 270, intima: 40, media: 62 },
      ],
    });
    expect(second?.rays).toEqual([{ angle: 0, intima: null, media: null }]);
  });
  it("is empty without lines", () => {
    expect(parseProfiles("vessel,angle_deg\r\n")).toEqual([]);
    expect(parseProfiles("")).toEqual([]);
  });
});

describe("rayAt", () => {
  const profile = parseProfiles(CSV)[0];
  it.each([
    [350, 0],
    [100, 90],
    [200, 270],
    [-80, 270],
  ])("of %d degrees is at %d", (asked, found) => {
    expect(profile && rayAt(profile, asked)?.angle).toBe(found);
  });
});

describe("directionOf", () => {
  it.each([
    [0, "right"],
    [90, "bottom"],
    [181, "left"],
    [-90, "top"],
    [359, "right"],
    [45, "lower right"],
  ])("%d is %s", (angle, name) => expect(directionOf(angle)).toBe(name));
});
