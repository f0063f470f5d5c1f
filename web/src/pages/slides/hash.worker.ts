/** Hashes one file beside the page: {file} in; {sha256} or {failed} out. */
import { Sha256 } from "../../pure/sha256";

const PIECE_BYTES = 4 * 2 ** 20;

self.onmessage = async (event: MessageEvent<{ file: File }>) => {
  try {
    self.postMessage({ sha256: await hash(event.data.file) });
  } catch (error) {
    self.postMessage({ failed: error instanceof Error ? error.message : String(error) });
  }
};

async function hash(file: File): Promise<string> {
  const found = new Sha256();
  for (let at = 0; at < file.size; at += PIECE_BYTES)
    found.update(new Uint8Array(await file.slice(at, at + PIECE_BYTES).arrayBuffer()));
  return found.hex();
}
