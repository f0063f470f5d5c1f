import { deflateSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { decodeIndexPng, encodeIndexPng } from "./index_png";

describe("PNG of class numbers", () => {
  it("comes back as it was", async () => {
    const pixels = Uint8Array.from({ length: 7 * 5 }, (_, n) => n % 4);
    const png = await encodeIndexPng({ width: 7, height: 5, pixels });
    const again = await decodeIndexPng(await png.arrayBuffer());
    expect(again).toEqual({ width: 7, height: 5, pixels });
  });

  it("reads every filter", async () => {
    const png = new Uint8Array(
      await (await encodeIndexPng({ width: 2, height: 5, pixels: new Uint8Array(10) })).arrayBuffer(),
    );
    const rows = [0, 1, 2, 1, 1, 1, 2, 1, 1, 3, 1, 1, 4, 1, 1];
    const packed = deflateSync(Uint8Array.from(rows));
    const idat = new Uint8Array(packed.length + 12);
    new DataView(idat.buffer).setUint32(0, packed.length);
    idat.set([73, 68, 65, 84], 4);
    idat.set(packed, 8);
    const made = new Uint8Array([...png.slice(0, 33), ...idat]);
    const { pixels } = await decodeIndexPng(made.buffer);
    // None, Sub, Up, Average and Paeth by hand.
    expect([...pixels]).toEqual([1, 2, 1, 2, 2, 3, 2, 3, 3, 4]);
  });

  it("refuses what is no image of class numbers", async () => {
    await expect(decodeIndexPng(new Uint8Array(40).buffer)).rejects.toThrow("no PNG");
    const png = new Uint8Array(
      await (await encodeIndexPng({ width: 1, height: 1, pixels: new Uint8Array(1) })).arrayBuffer(),
    );
    const deep = png.slice();
    deep[24] = 16;
    await expect(decodeIndexPng(deep.buffer)).rejects.toThrow("8-bit");
  });
});
