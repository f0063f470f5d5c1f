import { useEffect, useState } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { request } from "../../api/client";
import { useAction, useJson } from "../../api/resource";
import type { ApiShape, Segmentation } from "../../api/types";
import { formatMoment, formatNumber } from "../../pure/format";
import { decodeIndexPng, encodeIndexPng, type IndexImage } from "../../pure/index_png";
import { merged } from "../../pure/painting";
import { announce } from "../../ui/announce";
import { Button, ButtonLink } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { Notice, ProblemNote } from "../../ui/Notice";
import type { Versions } from "./CorrectPage";
import { dropDraft, keepDraft } from "./drafts";
import { type Session, saveCorrection } from "./session";

export interface SavePanelProps {
  slide: string;
  /** The version one started from. */
  id: string;
  base: IndexImage;
  session: Session;
  versions: Versions | null;
  reloadVersions: () => void;
  note: string;
  onNote: (note: string) => void;
  /** Goes up when a key asks to save. */
  asked: number;
  onSaved: (saved: boolean) => void;
}

/** Save as a new version; where somebody was first, say so and offer to put both together. */
export function SavePanel(props: SavePanelProps) {
  const { slide, id, session, versions, note, asked, onSaved } = props;
  const [saved, setSaved] = useState<ApiShape<"CorrectionView"> | null>(null);
  const number = (versions?.items[0]?.number ?? 0) + 1;
  const save = useAction(async () => {
    const made = await saveCorrection(id, await session.png(), { base: id, note });
    await dropDraft(id);
    onSaved(true);
    setSaved(made);
    announce(`Saved as version ${made.number}`);
    props.reloadVersions();
  });
  const outdated = save.problem?.code === "correction_outdated";
  // biome-ignore lint/correctness/useExhaustiveDependencies: only a new wish saves
  useEffect(() => {
    if (asked && !saved) void save.run();
  }, [asked]);
  if (saved) return <Writing slide={slide} saved={saved} />;
  return (
    <section class="stack tight save-panel" aria-label="Save">
      <Field label="Note for this version" hint="What you changed and why; colleagues read it.">
        {(ids) => (
          <input
            {...ids}
            type="text"
            maxLength={500}
            value={note}
            onInput={(e) => props.onNote(e.currentTarget.value)}
          />
        )}
      </Field>
      <div class="row">
        <Button look="primary" busy={save.running} onClick={() => void save.run()}>
          Save as version {number}
        </Button>
        <span class="small soft">
          {session.changed
            ? `${formatNumber(session.changed)} pixels changed${session.drafts ? "; kept in this browser until saved" : ""}`
            : "Nothing changed yet. Saving says that you looked and agree."}
        </span>
      </div>
      {session.drafts ? null : (
        <Notice tone="warn">
          <p class="small">This browser keeps no drafts (a private window?): save before you leave.</p>
        </Notice>
      )}
      {outdated ? (
        <Outdated {...props} onStay={save.clear} />
      ) : (
        <ProblemNote problem={save.problem} onRetry={() => void save.run()} />
      )}
    </section>
  );
}

/** Somebody saved another version meanwhile. */
function Outdated({
  slide,
  id,
  base,
  session,
  versions,
  note,
  onSaved,
  onStay,
}: SavePanelProps & { onStay: () => void }) {
  const page = useJson<Versions>(`/v1/segmentations/${encodeURIComponent(id)}/corrections`);
  const newest = page.data?.newest ?? versions?.newest ?? "";
  const theirs = page.data?.items.find((v) => v.id === newest);
  const [, navigate] = useLocation();
  const together = useAction(async () => {
    const path = `/v1/segmentations/${encodeURIComponent(newest)}/working_mask.png`;
    const image = await decodeIndexPng(await (await request(path)).arrayBuffer());
    const pixels = merged(session.painting.image.pixels, base.pixels, image.pixels);
    const png = await encodeIndexPng({ ...image, pixels });
    await keepDraft({ base: newest, png, note, at: new Date().toISOString() });
    await dropDraft(id);
    onSaved(true);
    navigate(`/slides/${slide}/correct/${newest}`);
  });
  return (
    <Notice tone="warn" title="Somebody saved another version meanwhile">
      <p>
        {theirs
          ? `Version ${theirs.number} by ${theirs.author_name}, ${formatMoment(theirs.created_at)}${theirs.note ? `: “${theirs.note}”` : ""}.`
          : "It is the newest now."}{" "}
        Nothing of yours is lost. Putting yours on top keeps what they changed wherever you changed nothing.
      </p>
      <div class="row">
        <Button compact look="primary" busy={together.running} onClick={() => void together.run()}>
          Put my changes on top of it
        </Button>
        <ButtonLink compact href={`/slides/${slide}?seg=${newest}&b=${id}&layers=difference.80`}>
          Look at theirs
        </ButtonLink>
        <Button compact onClick={onStay}>
          Stay here
        </Button>
      </div>
      <ProblemNote problem={together.problem} />
    </Notice>
  );
}

/** A job writes the files of a version; then one goes on from it. */
function Writing({ slide, saved }: { slide: string; saved: ApiShape<"CorrectionView"> }) {
  const [, navigate] = useLocation();
  const path = `/v1/segmentations/${encodeURIComponent(saved.id)}`;
  const view = useJson<Segmentation>(path, {
    again: (s) => (s.result || s.state === "failed" ? null : 1000),
  });
  const done = view.data?.result !== null && view.data !== null;
  return (
    <section class="stack tight save-panel" aria-label="Save">
      <Notice tone="good" title={`Saved as version ${saved.number}`}>
        <p role="status">
          {done
            ? "Its measures, layers and files are written."
            : "Its measures, layers and files are being written …"}
        </p>
        <div class="row">
          <Button
            compact
            look="primary"
            disabled={!done}
            onClick={() => navigate(`/slides/${slide}/correct/${saved.id}`)}
          >
            Go on from version {saved.number}
          </Button>
          <ButtonLink compact href={`/slides/${slide}?seg=${saved.id}`}>
            See it on the slide
          </ButtonLink>
        </div>
      </Notice>
      <ProblemNote problem={view.problem} onRetry={view.reload} />
      {view.data?.error ? (
        <Notice tone="bad" title="Its files could not be written">
          <p>{view.data.error.message}</p>
          <ButtonLink compact href={`/jobs/${saved.job}`}>
            See the job, try again
          </ButtonLink>
        </Notice>
      ) : null}
    </section>
  );
}
