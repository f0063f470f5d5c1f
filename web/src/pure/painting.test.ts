import { describe, expect, it } from "vitest";
import { changedPixels, merged, Painting } from "./painting";

const blank = (width = 20, height = 16) => ({ width, height, pixels: new Uint8Array(width * height) });
const anywhere = (value: number) => ({ value, over: null });

function drawn(painting: Painting, act: () => void): boolean {
  painting.begin();
  act();
  return painting.end();
}

describe("painting", () => {
  it("draws a disc by centres of pixels and takes it back", () => {
    const painting = new Painting(blank());
    drawn(painting, () => painting.brush({ x: 10, y: 8 }, { x: 10, y: 8 }, 3, anywhere(2)));
    const count = painting.image.pixels.filter((v) => v === 2).length;
    expect(count).toBe(32);
    painting.undo();
    expect(painting.image.pixels.some(Boolean)).toBe(false);
    painting.redo();
    expect(painting.image.pixels.filter((v) => v === 2).length).toBe(count);
  });

  it("leaves no gap along a fast stroke", () => {
    const painting = new Painting(blank());
    drawn(painting, () => painting.brush({ x: 2, y: 8 }, { x: 18, y: 8 }, 1, anywhere(1)));
    for (let x = 2; x < 18; x++) expect(painting.image.pixels[7 * 20 + x]).toBe(1);
  });

  it("paints over one class only where that is asked", () => {
    const painting = new Painting(blank());
    drawn(painting, () => painting.brush({ x: 5, y: 5 }, { x: 5, y: 5 }, 2, anywhere(1)));
    drawn(painting, () => painting.brush({ x: 6, y: 5 }, { x: 6, y: 5 }, 4, { value: 3, over: 1 }));
    expect(new Set(painting.image.pixels)).toEqual(new Set([0, 3]));
    expect(painting.image.pixels.filter((v) => v === 3).length).toBe(12);
  });

  it("fills a polygon with its area", () => {
    const painting = new Painting(blank());
    const corners = [
      { x: 2, y: 2 },
      { x: 12, y: 2 },
      { x: 12, y: 10 },
      { x: 2, y: 10 },
    ];
    drawn(painting, () => painting.polygon(corners, anywhere(1)));
    expect(painting.image.pixels.filter((v) => v === 1).length).toBe(80);
  });

  it("fills holes, and an area at the edge only where it may", () => {
    const painting = new Painting(blank());
    const ring = [
      { x: 2, y: 2 },
      { x: 12, y: 2 },
      { x: 12, y: 12 },
      { x: 2, y: 12 },
    ];
    const hole = ring.map(({ x, y }) => ({ x: (x + 7) / 2, y: (y + 7) / 2 }));
    drawn(painting, () => {
      painting.polygon(ring, anywhere(3));
      painting.polygon(hole, anywhere(0));
    });
    painting.begin();
    expect(painting.fill({ x: 0, y: 0 }, anywhere(1), true)).toBeNull();
    expect(painting.fill({ x: 7, y: 7 }, anywhere(1), true)).not.toBeNull();
    expect(painting.end()).toBe(true);
    expect(painting.image.pixels.filter((v) => v === 1).length).toBe(25);
    painting.begin();
    expect(painting.fill({ x: 7, y: 7 }, anywhere(1), false)).toBeNull();
    expect(painting.end()).toBe(false);
  });

  it("forgets the oldest steps when they do not fit", () => {
    const painting = new Painting(blank(), 40);
    for (const x of [3, 8, 13])
      drawn(painting, () => painting.brush({ x, y: 8 }, { x, y: 8 }, 2, anywhere(1)));
    expect(painting.undo()).not.toBeNull();
    expect(painting.undo()).toBeNull();
    expect(painting.image.pixels.some(Boolean)).toBe(true);
  });

  it("counts a stroke that changes nothing as none", () => {
    const painting = new Painting(blank());
    expect(drawn(painting, () => painting.brush({ x: 5, y: 5 }, { x: 5, y: 5 }, 2, anywhere(0)))).toBe(false);
    expect(painting.canUndo).toBe(false);
    expect(drawn(painting, () => painting.brush({ x: -50, y: 5 }, { x: -50, y: 5 }, 2, anywhere(1)))).toBe(
      false,
    );
  });

  it("puts changes on top of those of somebody else", () => {
    const [mine, base, theirs] = [
      [1, 0, 3],
      [0, 0, 3],
      [0, 2, 2],
    ].map((v) => Uint8Array.from(v));
    expect([...merged(mine as Uint8Array, base as Uint8Array, theirs as Uint8Array)]).toEqual([1, 2, 2]);
    expect(changedPixels(mine as Uint8Array, base as Uint8Array)).toBe(1);
  });
});
