import { describe, expect, it } from "vitest";
import {
  asWords,
  count,
  formatBytes,
  formatDuration,
  formatInterval,
  formatNumber,
  formatPercent,
  formatQuantity,
} from "./format";

describe("numbers", () => {
  it.each([
    [0, "0"],
    [0.12345, "0.123"],
    [1234567, "1,234,567"],
    [99.96, "100"],
    [0.00001234, "1.2e-5"],
    [Number.NaN, "not a number"],
  ])("%f is %s", (value, text) => expect(formatNumber(value)).toBe(text));

  it("shows large areas in mm² and their intervals with them", () => {
    expect(formatQuantity(1_250_000, "um^2")).toBe("1.25\u202fmm²");
    expect(formatInterval(1_000_000, 1_500_000, "um^2", 1_250_000)).toBe("1 to 1.5");
    expect(formatQuantity(900, "µm²")).toBe("900\u202fµm²");
    expect(formatInterval(800, 1000, "µm²", 900)).toBe("800 to 1,000");
  });

  it("writes a pure number without a unit", () => expect(formatQuantity(0.5, "ratio")).toBe("0.5"));
  it("writes percent", () => expect(formatPercent(0.8712)).toBe("87\u202f%"));
});

describe("times and sizes", () => {
  it.each([
    [0.2, "less than 1 s"],
    [59.6, "1 min"],
    [59, "59 s"],
    [200, "3 min 20 s"],
    [3600, "1 h"],
    [90061, "1 day 1 h"],
    [2 * 86400, "2 days"],
  ])("%f s is %s", (seconds, text) => expect(formatDuration(seconds)).toBe(text));
  it.each([
    [0, "0\u202fB"],
    [999, "999\u202fB"],
    [1_500_000, "1.5\u202fMB"],
  ])("%i bytes are %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));
});

describe("words", () => {
  it("counts", () =>
    expect([count(1, "slide"), count(2, "slide"), count(2, "study", "studies")]).toEqual([
      "1 slide",
      "2 slides",
      "2 studies",
    ]));
  it("reads names", () => expect(asWords("intima_media_ratio")).toBe("Intima media ratio"));
});
