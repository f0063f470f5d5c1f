/** What an editor holds: the painting, its measures as they change, and the draft in this browser. */
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { query, request } from "../../api/client";
import { asProblem, type Problem } from "../../api/problem";
import type { ApiShape } from "../../api/types";
import { encodeIndexPng, type IndexImage } from "../../pure/index_png";
import { type Box, changedPixels, Painting } from "../../pure/painting";
import { dropDraft, keepDraft } from "./drafts";

export type Preview = ApiShape<"CorrectionPreview">;

const SETTLED_MS = 700;

export interface Session {
  painting: Painting;
  /** Goes up with every change. */
  round: number;
  /** Pixels that differ from the version one started from. */
  changed: number;
  preview: Preview | null;
  problem: Problem | null;
  measuring: boolean;
  /** Whether this browser keeps drafts. */
  drafts: boolean;
  /** Tell that pixels changed; null: all may have. */
  touched: (box: Box | null) => void;
  onReady: (redraw: (box: Box | null) => void) => void;
  png: () => Promise<Blob>;
}

/** Keep a painting of `start`, beside the version `base` that it started from. */
export function useSession(id: string, base: IndexImage, start: IndexImage, note: string): Session {
  const painting = useMemo(() => new Painting({ ...start, pixels: start.pixels.slice() }), [start]);
  const [round, setRound] = useState(0);
  const redraw = useRef<(box: Box | null) => void>(() => {});
  const [told, setTold] = useState<{ preview: Preview | null; problem: Problem | null; round: number }>({
    preview: null,
    problem: null,
    round: -1,
  });
  const [drafts, setDrafts] = useState(true);
  const noted = useRef(note);
  noted.current = note;
  const png = useCallback(() => encodeIndexPng(painting.image), [painting]);
  const touched = useCallback((box: Box | null) => {
    redraw.current(box);
    setRound((n) => n + 1);
  }, []);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `round` says that pixels changed in place
  const changed = useMemo(() => changedPixels(painting.image.pixels, base.pixels), [painting, base, round]);

  useEffect(() => {
    const stop = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const body = await png();
        if (changed)
          setDrafts(
            await keepDraft({ base: id, png: body, note: noted.current, at: new Date().toISOString() }),
          );
        else await dropDraft(id);
        const preview = await previewOf(id, body, stop.signal);
        if (!stop.signal.aborted) setTold({ preview, problem: null, round });
      } catch (error) {
        if (!stop.signal.aborted) setTold((old) => ({ ...old, problem: asProblem(error), round }));
      }
    }, SETTLED_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [id, png, round, changed]);

  return {
    painting,
    round,
    changed,
    preview: told.preview,
    problem: told.problem,
    measuring: told.round !== round,
    drafts,
    touched,
    onReady: useCallback((given) => {
      redraw.current = given;
    }, []),
    png,
  };
}

/** Ask what a correction measures; nothing is stored. */
export async function previewOf(id: string, body: Blob, signal?: AbortSignal): Promise<Preview> {
  const answer = await request(
    `/v1/segmentations/${encodeURIComponent(id)}/corrections/preview${query({ base: id })}`,
    { method: "POST", body, headers: { "Content-Type": body.type }, signal },
  );
  return (await answer.json()) as Preview;
}

/** Store a correction as a new version. Throws Problem, "correction_outdated" where somebody was first. */
export async function saveCorrection(
  id: string,
  body: Blob,
  given: { base: string; note: string },
): Promise<ApiShape<"CorrectionView">> {
  const answer = await request(`/v1/segmentations/${encodeURIComponent(id)}/corrections${query(given)}`, {
    method: "POST",
    body,
    headers: { "Content-Type": body.type },
  });
  return (await answer.json()) as ApiShape<"CorrectionView">;
}
