import { expect, test } from "vitest";
import {
  fromScaleBar,
  isResumable,
  next,
  readPixelSize,
  restOf,
  type Sample,
  speedOf,
  thumbnailLevel,
  whyNot,
  withSample,
} from "./transfers";

test("large files go in pieces", () => {
  expect(isResumable(20_000_000)).toBe(false);
  expect(isResumable(20_000_001)).toBe(true);
});

test("speed is that of the last seconds, and starts anew where bytes went back", () => {
  let samples: Sample[] = [];
  expect(speedOf(samples)).toBeNull();
  samples = withSample(samples, { atMs: 0, bytes: 0 });
  expect(speedOf(samples)).toBeNull();
  samples = withSample(samples, { atMs: 1000, bytes: 500 });
  expect(speedOf(samples)).toBe(500);
  samples = withSample(samples, { atMs: 20_000, bytes: 1000 });
  expect(samples).toHaveLength(1);
  samples = withSample(samples, { atMs: 21_000, bytes: 100 });
  expect(samples).toEqual([{ atMs: 21_000, bytes: 100 }]);
});

test("the rest is unknown where nothing moves", () => {
  expect(restOf(10, 110, 50)).toBe(2);
  expect(restOf(10, 110, 0)).toBeNull();
  expect(restOf(10, 110, null)).toBeNull();
});

test("two are sent at once, in their order", () => {
  const row = (id: number, state: "waiting" | "sending" | "paused" | "checking") => ({ id, state });
  expect(next([row(1, "sending"), row(2, "paused"), row(3, "waiting"), row(4, "waiting")])).toEqual([
    row(3, "waiting"),
  ]);
  expect(next([row(1, "sending"), row(2, "checking"), row(3, "waiting")])).toEqual([]);
});

test("files that cannot be sent are said so with what to do", () => {
  expect(whyNot({ name: "a.svs", size: 0 })).toMatch(/empty/);
  expect(whyNot({ name: "A.MRXS", size: 9 })).toMatch(/Zip/);
  expect(whyNot({ name: "a.svs", size: 9 })).toBe("");
});

test("a pixel size is read as people type it, and never guessed", () => {
  expect(readPixelSize(" 0,25 ")).toEqual({ mpp: 0.25 });
  expect(readPixelSize("0.5")).toEqual({ mpp: 0.5 });
  for (const text of ["", " ", "x", "0.25 µm", "1e999", "NaN"])
    expect(readPixelSize(text)).toHaveProperty("wrong");
  for (const text of ["0", "-1", "0.009", "1001"]) expect(readPixelSize(text)).toHaveProperty("wrong");
});

test("a scale bar gives a pixel size", () => {
  expect(fromScaleBar("100", "400")).toBe(0.25);
  expect(fromScaleBar("0,5", "1")).toBe(0.5);
  for (const [um, px] of [
    ["", "1"],
    ["1", "0"],
    ["1", "x"],
    ["-1", "-4"],
    ["1", "1000"],
  ])
    expect(fromScaleBar(um as string, px as string)).toBeNull();
});

test("the thumbnail is one tile and as large as that allows", () => {
  expect(thumbnailLevel(254, 100)).toBe(8);
  expect(thumbnailLevel(255, 100)).toBe(7);
  expect(thumbnailLevel(1, 1)).toBe(0);
  for (const side of [256, 300, 508, 509, 20_000, 98_304]) {
    const top = Math.ceil(Math.log2(side));
    const level = thumbnailLevel(side, 10);
    expect(Math.ceil(side / 2 ** (top - level))).toBeLessThanOrEqual(254);
    expect(Math.ceil(side / 2 ** (top - level - 1))).toBeGreaterThan(254);
  }
});
