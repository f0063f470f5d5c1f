import { describe, expect, it } from "vitest";
import { scaleBar } from "./scale_bar";

describe("scaleBar", () => {
  it.each([
    [0.25, "µm", 80, "20\u202fµm"],
    [1, "µm", 100, "100\u202fµm"],
    [40, "µm", 125, "5\u202fmm"],
    [0.005, "µm", 100, "500\u202fnm"],
    [10, "px", 100, "1,000\u202fpx"],
  ] as const)("at %f per pixel in %s is %f px long and says %s", (perPx, unit, px, label) => {
    const bar = scaleBar(perPx, unit);
    expect(bar?.px).toBeCloseTo(px);
    expect(bar?.label).toBe(label);
  });
  it("is none without a scale", () => {
    for (const perPx of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
      expect(scaleBar(perPx, "µm")).toBeNull();
  });
  it("never exceeds the room", () => {
    for (let power = -3; power < 4; power += 0.1) {
      const bar = scaleBar(10 ** power, "µm", 150);
      expect(bar?.px).toBeLessThanOrEqual(150.0001);
      expect(bar?.px).toBeGreaterThan(50);
    }
  });
});
