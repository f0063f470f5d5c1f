/** Files on their way to the api: in one request, or in pieces that can stop and go on (tus 1.0). */
import type { DetailedError, UploadOptions } from "tus-js-client";
import { request, sendJson } from "./client";
import { Problem, problemOf } from "./problem";
import { askForToken, authorization } from "./session";
import type { Slide } from "./types";

export const UPLOADS = "/v1/uploads";
const TUS = { "Tus-Resumable": "1.0.0" };
/** A connection that broke is tried again for about a minute; the server gives up on the old one after 30 s. */
const RETRY_MS = [0, 1000, 3000, 5000, 10_000, 15_000, 30_000];
const BUSY_RETRIES = 20;
const BUSY_MS = 1500;

/** What is said about a file beside its bytes. */
export interface SlideWords {
  subject: string | null;
  deidentify: boolean;
}

export interface Watching {
  signal: AbortSignal;
  onProgress: (sent: number) => void;
}

/** Send a small file and return its slide. Throws Problem. */
export function sendWhole(file: File, words: SlideWords, sha256: string, watch: Watching): Promise<Slide> {
  const form = new FormData();
  if (words.subject) form.set("subject", words.subject);
  if (words.deidentify) form.set("deidentify", "true");
  form.set("sha256", sha256);
  form.set("file", file, file.name);
  return new Promise((resolve, reject) => {
    const asked = new XMLHttpRequest();
    const stop = () => asked.abort();
    watch.signal.addEventListener("abort", stop, { once: true });
    asked.open("POST", "/v1/slides");
    for (const [name, value] of Object.entries(authorization())) asked.setRequestHeader(name, value);
    asked.upload.onprogress = (event) => watch.onProgress(Math.min(file.size, event.loaded));
    asked.upload.onload = () => watch.onProgress(file.size);
    asked.onabort = () => reject(new DOMException("stopped", "AbortError"));
    asked.onerror = () => reject(brokenOff());
    asked.onload = () => {
      if (asked.status === 201) resolve(JSON.parse(asked.responseText) as Slide);
      else refused(asked.status, asked.responseText, asked.getResponseHeader("Retry-After")).then(reject);
    };
    asked.onloadend = () => watch.signal.removeEventListener("abort", stop);
    asked.send(form);
  });
}

/** Send a file in pieces, going on where an earlier try of this browser stopped; return the upload's path. Throws Problem. */
export async function sendInPieces(file: File, words: SlideWords, watch: Watching): Promise<string> {
  const { Upload } = await import("tus-js-client");
  const metadata: Record<string, string> = { filename: file.name };
  if (words.subject) metadata.subject = words.subject;
  if (words.deidentify) metadata.deidentify = "true";
  return new Promise((resolve, reject) => {
    const options: UploadOptions = {
      endpoint: UPLOADS,
      metadata,
      retryDelays: RETRY_MS,
      removeFingerprintOnSuccess: true,
      onBeforeRequest: (asked) => {
        for (const [name, value] of Object.entries(authorization())) asked.setHeader(name, value);
      },
      onShouldRetry: (error) => mayPass(error),
      onProgress: (sent) => watch.onProgress(sent),
      onError: (error) => void problemIn(error).then(reject),
      onSuccess: () => resolve(pathOf(upload.url)),
    };
    const upload = new Upload(file, options);
    const stop = () => {
      void upload.abort();
      reject(new DOMException("stopped", "AbortError"));
    };
    if (watch.signal.aborted) return stop();
    watch.signal.addEventListener("abort", stop, { once: true });
    void upload.findPreviousUploads().then((known) => {
      const newest = known.sort((a, b) => b.creationTime.localeCompare(a.creationTime))[0];
      if (newest) upload.resumeFromPreviousUpload(newest);
      if (!watch.signal.aborted) upload.start();
    });
  });
}

/** Make a slide of an upload that is whole. Throws Problem. */
export async function storeUpload(
  path: string,
  words: SlideWords,
  sha256: string | null,
  signal?: AbortSignal,
): Promise<Slide> {
  const body = { ...words, ...(sha256 ? { sha256 } : {}) };
  for (let tries = 0; ; tries++) {
    try {
      return await sendJson<Slide>("POST", `${path}/slide`, body, { signal });
    } catch (error) {
      const busy = error instanceof Problem && error.code === "upload_busy";
      if (!busy || tries === BUSY_RETRIES) throw error;
      await new Promise((done) => setTimeout(done, BUSY_MS));
    }
  }
}

/** Forget an upload on the server, and that this browser began it. */
export async function forgetUpload(path: string): Promise<void> {
  forgetFingerprint(path);
  try {
    await request(path, { method: "DELETE", headers: TUS });
  } catch (error) {
    if (!(error instanceof Problem && [404, 410].includes(error.status))) throw error;
  }
}

/** Where this browser stands with a file of which it sent a part: the path, or null. */
export async function knownUpload(file: File): Promise<string | null> {
  const { Upload } = await import("tus-js-client");
  const known = await new Upload(file, { endpoint: UPLOADS }).findPreviousUploads();
  return known[0]?.uploadUrl ? pathOf(known[0].uploadUrl) : null;
}

function forgetFingerprint(path: string): void {
  for (const key of Object.keys(localStorage))
    if (key.startsWith("tus::") && localStorage.getItem(key)?.includes(path)) localStorage.removeItem(key);
}

function pathOf(url: string | null): string {
  return new URL(url ?? "", window.location.href).pathname;
}

/** Whether the same request may go through a moment later: not where the server said no for a reason that stays. */
function mayPass(error: DetailedError): boolean {
  const status = error.originalResponse?.getStatus() ?? 0;
  return status === 0 || status === 408 || status === 409 || (status >= 500 && status !== 507);
}

async function problemIn(error: Error | DetailedError): Promise<Problem> {
  const answer = "originalResponse" in error ? error.originalResponse : null;
  if (!answer)
    return "originalRequest" in error
      ? brokenOff()
      : new Problem(0, "defect", "It stopped", error.message, "");
  return refused(answer.getStatus(), answer.getBody(), answer.getHeader("Retry-After") ?? null);
}

async function refused(status: number, body: string, retryAfter: string | null): Promise<Problem> {
  if (status === 401) askForToken();
  const headers: Record<string, string> = retryAfter ? { "Retry-After": retryAfter } : {};
  return problemOf(new Response(body, { status: status >= 200 && status < 600 ? status : 500, headers }));
}

function brokenOff(): Problem {
  return new Problem(
    0,
    "unreachable",
    "The connection broke off",
    "Intima stopped answering while the file was sent.",
    "",
    [{ pointer: "", message: "", hint: "Check the network, then press “Go on”. What arrived is kept." }],
  );
}
