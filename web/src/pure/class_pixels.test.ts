import { describe, expect, it } from "vitest";
import { packed, pickClass } from "./class_pixels";

const LUMEN = "#56b4e9";
const MEDIA = "#cc79a7";

describe("pickClass", () => {
  it("packs as a canvas does", () => {
    const canvas = new Uint8ClampedArray([0x56, 0xb4, 0xe9, 255]);
    expect(new Uint32Array(canvas.buffer)[0]).toBe(packed(LUMEN));
  });
  it("keeps one class and nothing else", () => {
    const pixels = new Uint32Array([packed(LUMEN), packed(MEDIA), 0, packed(LUMEN)]);
    expect([...pickClass(pixels, 2, LUMEN, "#112233")]).toEqual([packed("#112233"), 0, 0, packed("#112233")]);
  });
  it("takes no colour that only looks alike", () => {
    expect([...pickClass(new Uint32Array([packed(LUMEN, 254), packed("#56b4e8")]), 2, LUMEN, LUMEN)]).toEqual(
      [0, 0],
    );
  });
  it.each(["diagonal", "dots", "cross"] as const)("draws %s weaker and stronger, never absent", (hatch) => {
    const out = pickClass(new Uint32Array(256).fill(packed(MEDIA)), 16, MEDIA, MEDIA, hatch);
    expect(new Set(out)).toEqual(new Set([packed(MEDIA), packed(MEDIA, 110)]));
  });
});
