/** The files that are being sent. They go on while other pages of the viewer are shown, and stop with the tab. */
import { useEffect, useState } from "preact/hooks";
import { asProblem, Problem } from "../../api/problem";
import type { Slide } from "../../api/types";
import {
  forgetUpload,
  knownUpload,
  type SlideWords,
  sendInPieces,
  sendWhole,
  storeUpload,
} from "../../api/uploads";
import {
  isResumable,
  likenessOf,
  next,
  type Sample,
  type TransferState,
  whyNot,
  withSample,
} from "../../pure/transfers";
import { announce } from "../../ui/announce";
import { hashOf } from "./hashing";

export interface Transfer {
  id: number;
  file: File;
  words: SlideWords;
  state: TransferState;
  /** Bytes that were sent. */
  sent: number;
  samples: readonly Sample[];
  problem: Problem | null;
  /** Where its bytes are on the server once all are there. */
  path: string | null;
  sha256: string | null;
  slide: Slide | null;
}

let transfers: readonly Transfer[] = [];
let newest = 0;
const listeners = new Set<() => void>();
const stops = new Map<number, AbortController>();

/** The files, newest last, live. */
export function useTransfers(): readonly Transfer[] {
  const [shown, show] = useState(transfers);
  useEffect(() => {
    const tell = () => show(transfers);
    tell();
    listeners.add(tell);
    return () => void listeners.delete(tell);
  }, []);
  return shown;
}

/** Send files, beginning now; return the names of those that are being sent already. */
export function addFiles(files: readonly File[], words: SlideWords): string[] {
  const open = new Set(transfers.filter((t) => t.state !== "stored").map((t) => likenessOf(t.file)));
  const twice = files.filter((file) => open.has(likenessOf(file))).map((file) => file.name);
  transfers = [
    ...transfers,
    ...files.filter((f) => !open.has(likenessOf(f))).map((f) => newTransfer(f, words)),
  ];
  tell();
  pump();
  return twice;
}

function newTransfer(file: File, words: SlideWords): Transfer {
  const why = whyNot(file);
  const problem = why ? new Problem(0, "not_sent", "This file was not sent", why, "") : null;
  const state = problem ? "failed" : "waiting";
  const blank = { sent: 0, samples: [], path: null, sha256: null, slide: null };
  return { id: ++newest, file, words, state, problem, ...blank };
}

export function pause(id: number): void {
  change(id, { state: "paused", samples: [] });
  stops.get(id)?.abort();
}

/** Go on, or try again. */
export function resume(id: number): void {
  change(id, { state: "waiting", problem: null });
  pump();
}

/** Take a file off the list; what arrived of it is forgotten, a slide that was stored stays. */
export async function drop(id: number): Promise<void> {
  const found = transfers.find((t) => t.id === id);
  transfers = transfers.filter((t) => t.id !== id);
  tell();
  stops.get(id)?.abort();
  pump();
  if (found && found.state !== "stored" && isResumable(found.file.size)) await forgetBytes(found);
}

async function forgetBytes(transfer: Transfer): Promise<void> {
  const path = transfer.path ?? (await knownUpload(transfer.file));
  if (path) await forgetUpload(path);
}

/** Take what is stored off the list. */
export function dropStored(): void {
  transfers = transfers.filter((t) => t.state !== "stored");
  tell();
}

/** Show a slide as it is now, after it was changed. */
export function renewSlide(slide: Slide): void {
  transfers = transfers.map((t) => (t.slide?.id === slide.id ? { ...t, slide } : t));
  tell();
}

export function isOpen(transfer: Transfer): boolean {
  return ["waiting", "sending", "checking"].includes(transfer.state);
}

function pump(): void {
  for (const transfer of next(transfers)) void send(transfer);
}

async function send(transfer: Transfer): Promise<void> {
  const { id, file } = transfer;
  const stop = new AbortController();
  stops.set(id, stop);
  change(id, { state: "sending", samples: [], ...(isResumable(file.size) ? {} : { sent: 0 }) });
  try {
    const slide = await bring(transfer, stop.signal);
    change(id, { state: "stored", slide });
    announce(`${file.name} is stored`);
  } catch (error) {
    if (!stop.signal.aborted) await fail(transfer, asProblem(error));
  } finally {
    if (stops.get(id) === stop) stops.delete(id);
    pump();
  }
}

async function bring(transfer: Transfer, signal: AbortSignal): Promise<Slide> {
  const { id, file, words } = transfer;
  const hashing = transfer.sha256 ? Promise.resolve(transfer.sha256) : hashOf(file);
  hashing.then((sha256) => change(id, { sha256 })).catch(() => undefined);
  const watch = { signal, onProgress: (sent: number) => progress(id, sent) };
  if (!isResumable(file.size)) return sendWhole(file, words, await hashing, watch);
  const path = transfer.path ?? (await sendInPieces(file, words, watch));
  change(id, { path, sent: file.size, state: "checking" });
  return storeUpload(path, words, await hashing, signal);
}

function progress(id: number, sent: number): void {
  const found = transfers.find((t) => t.id === id);
  if (found?.state !== "sending") return;
  const samples = withSample(found.samples, { atMs: performance.now(), bytes: sent });
  change(id, { sent, samples, ...(sent >= found.file.size ? { state: "checking" } : {}) });
}

async function fail(transfer: Transfer, problem: Problem): Promise<void> {
  const last = transfers.find((t) => t.id === transfer.id);
  const gone = [404, 410].includes(problem.status);
  const changed = problem.code === "sha256_mismatch";
  change(transfer.id, { state: "failed", problem, ...(gone || changed ? { path: null, sha256: null } : {}) });
  announce(`${transfer.file.name}: ${problem.title}`);
  if (changed && last?.path) await forgetUpload(last.path).catch(() => undefined);
}

function change(id: number, changed: Partial<Transfer>): void {
  transfers = transfers.map((t) => (t.id === id ? { ...t, ...changed } : t));
  tell();
}

function tell(): void {
  for (const listener of listeners) listener();
}

window.addEventListener("beforeunload", (event) => {
  if (transfers.some(isOpen)) event.preventDefault();
});
