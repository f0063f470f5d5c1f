import { describe, expect, it } from "vitest";
import { formatLayers, formatView, parseLayers, parseView, rectangleOf } from "./slide_view";

describe("the view in the URL", () => {
  it("comes back", () => {
    expect(parseView(formatView({ x: 1023.4, y: 17, zoom: 0.123456 }))).toEqual({
      x: 1023,
      y: 17,
      zoom: 0.123,
    });
  });
  it.each([null, "", "1,2", "1,2,0", "1,2,-3", "a,b,c", "1,2,3,4", "NaN,1,1", "1,1,Infinity"])(
    "is none for %s",
    (text) => expect(parseView(text)).toBeNull(),
  );
});

describe("layers in the URL", () => {
  const defaults = { lumen: 60, media: 60, entropy: 0 };
  it("say only what differs", () => {
    expect(formatLayers(defaults, defaults)).toBeNull();
    expect(formatLayers({ ...defaults, media: 0 }, defaults)).toBe("media.0");
  });
  it("come back", () => {
    const shown = { lumen: 5, media: 60, entropy: 100 };
    expect(parseLayers(formatLayers(shown, defaults), defaults)).toEqual(shown);
  });
  it("ignore what is unknown or senseless", () => {
    expect(parseLayers("lumen.101,media.x,nerve.50,entropy.-1,,lumen", defaults)).toEqual(defaults);
  });
});

describe("a rectangle", () => {
  const size = { width: 100, height: 80 };
  it("lies inside the slide, whichever corner came first", () => {
    expect(rectangleOf({ x: 120, y: 50.4 }, { x: -7, y: 20.6 }, size)).toEqual({
      x: 0,
      y: 21,
      width: 100,
      height: 29,
    });
  });
  it("is none where it is too thin", () =>
    expect(rectangleOf({ x: 1, y: 1 }, { x: 50, y: 3 }, size)).toBeNull());
});
