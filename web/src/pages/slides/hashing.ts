import { Problem } from "../../api/problem";

/** The SHA-256 of a file, made in a worker. Throws Problem where the file cannot be read. */
export function hashOf(file: File): Promise<string> {
  const worker = new Worker(new URL("./hash.worker.ts", import.meta.url), { type: "module" });
  return new Promise<string>((resolve, reject) => {
    worker.onmessage = (event: MessageEvent<{ sha256?: string; failed?: string }>) =>
      event.data.sha256 ? resolve(event.data.sha256) : reject(unreadable(event.data.failed ?? ""));
    worker.onerror = (event) => reject(unreadable(event.message));
    worker.postMessage({ file });
  }).finally(() => worker.terminate());
}

function unreadable(why: string): Problem {
  const hint = "Choose it again. If it lies on a network drive or a stick, copy it to this computer first.";
  return new Problem(
    0,
    "unreadable",
    "The file cannot be read",
    `The browser could not read it. ${why}`.trim(),
    "",
    [{ pointer: "", message: "", hint }],
  );
}
