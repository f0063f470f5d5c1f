import { expect, it } from "vitest";
import { parseEvents, splitEvents } from "./event_stream";

it("keeps an event that is not whole for later", () => {
  const [events, rest] = splitEvents("id: 4\nevent: unit\ndata: {}\n\nid: 5\nda");
  expect(events).toEqual([{ id: "4", type: "unit", data: "{}" }]);
  expect(rest).toBe("id: 5\nda");
});

it("passes over comments and joins lines of data", () => {
  expect(splitEvents(": still here\n\ndata: a\ndata: b\n\n")[0]).toEqual([
    { id: "", type: "message", data: "a\nb" },
  ]);
});

it("reads a stream that is cut anywhere, within a letter too", async () => {
  const bytes = new TextEncoder().encode("id: 1\nevent: log\ndata: µm\n\nid: 2\nevent: log\ndata: b\n\n");
  for (let at = 1; at < bytes.length; at++) {
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(bytes.slice(0, at));
        controller.enqueue(bytes.slice(at));
        controller.close();
      },
    });
    const found = [];
    for await (const event of parseEvents(new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>)))
      found.push(event.data);
    expect(found).toEqual(["µm", "b"]);
  }
});
