/** The text/event-stream format (WHATWG HTML, 9.2.6). */
export interface ServerEvent {
  id: string;
  type: string;
  data: string;
}

/** Yield the events of an answer as they come. */
export async function* parseEvents(response: Response): AsyncGenerator<ServerEvent> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (!reader) return;
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const [events, left] = splitEvents(rest + value);
      rest = left;
      yield* events;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** Return the whole events of a text, and what follows them. */
export function splitEvents(text: string): [ServerEvent[], string] {
  const blocks = text.replaceAll("\r\n", "\n").split("\n\n");
  const rest = blocks.pop() ?? "";
  return [blocks.map(parseEvent).filter((e): e is ServerEvent => e !== null), rest];
}

function parseEvent(block: string): ServerEvent | null {
  const found: ServerEvent = { id: "", type: "message", data: "" };
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]+):? ?(.*)$/.exec(line) ?? [];
    if (field === "id") found.id = value ?? "";
    if (field === "event") found.type = value ?? "";
    if (field === "data") data.push(value ?? "");
  }
  return data.length ? { ...found, data: data.join("\n") } : null;
}
