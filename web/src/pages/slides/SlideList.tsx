import { useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { sendJson } from "../../api/client";
import { useAction } from "../../api/resource";
import type { Segmentation, Slide } from "../../api/types";
import { formatMoment, formatNumber } from "../../pure/format";
import { announce } from "../../ui/announce";
import { Button } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { Field } from "../../ui/Field";
import { ProblemNote } from "../../ui/Notice";
import { Quantity } from "../../ui/Quantity";
import { StateBadge } from "../../ui/StateBadge";
import { Table } from "../../ui/Table";
import { PixelSizes } from "./PixelSizes";
import { renewSlide } from "./queue";
import { Thumbnail } from "./Thumbnail";

export interface SlideListProps {
  slides: readonly Slide[];
  /** The newest segmentation of each slide that has one. */
  newest: ReadonlyMap<string, Segmentation>;
  chosen: ReadonlySet<string>;
  onChoose: (ids: readonly string[], on: boolean) => void;
  onDelete: (slide: Slide) => void;
  onChanged: () => void;
}

/** The slides of a page: picture, name, what they are of, and how far they are. */
export function SlideList({ slides, newest, chosen, onChoose, onDelete, onChanged }: SlideListProps) {
  const [edited, setEdited] = useState<Slide | null>(null);
  const all = slides.every((s) => chosen.has(s.id));
  return (
    <>
      <label class="check small">
        <input
          type="checkbox"
          checked={all}
          onChange={(event) =>
            onChoose(
              slides.map((s) => s.id),
              event.currentTarget.checked,
            )
          }
        />
        All on this page
      </label>
      <Table
        caption="Slides, newest first"
        captionHidden
        rows={slides}
        keyOf={(slide) => slide.id}
        columns={[
          {
            title: "Slide",
            cell: (s) => (
              <span class="slide-cell">
                <input
                  type="checkbox"
                  aria-label={`Choose ${s.name}`}
                  checked={chosen.has(s.id)}
                  onChange={(event) => onChoose([s.id], event.currentTarget.checked)}
                />
                <Thumbnail slide={s} />
                <span class="name">
                  <Link href={`/slides/${s.id}`}>{s.name}</Link>
                  <span class="soft small" style={{ display: "block" }}>
                    {formatNumber(s.width)} × {formatNumber(s.height)} pixels, {s.format}
                  </span>
                </span>
              </span>
            ),
          },
          { title: "Subject", cell: (s) => s.subject ?? <span class="soft">not given</span> },
          { title: "Pixel size", cell: (s) => <PixelSize slide={s} onAsk={() => setEdited(s)} /> },
          { title: "Segmented", cell: (s) => <Newest slide={s} segmentation={newest.get(s.id)} /> },
          { title: "Added", cell: (s) => <span class="small">{formatMoment(s.created_at)}</span> },
          {
            title: "Actions",
            cell: (s) => (
              <span class="row" style={{ gap: "0.3rem", flexWrap: "nowrap" }}>
                <Button compact onClick={() => setEdited(s)} aria-label={`Edit ${s.name}`}>
                  Edit
                </Button>
                <Button compact look="danger" onClick={() => onDelete(s)} aria-label={`Delete ${s.name}`}>
                  Delete
                </Button>
              </span>
            ),
          },
        ]}
      />
      <EditDialog
        slide={edited}
        onClose={() => setEdited(null)}
        onSaved={(slide) => {
          renewSlide(slide);
          setEdited(null);
          onChanged();
        }}
      />
    </>
  );
}

function PixelSize({ slide, onAsk }: { slide: Slide; onAsk: () => void }) {
  if (slide.mpp === null)
    return (
      <span class="row" style={{ gap: "0.3rem" }}>
        <span class="badge warn">
          <span aria-hidden="true">!</span> missing
        </span>
        <Button compact onClick={onAsk} aria-label={`Give it: the pixel size of ${slide.name}`}>
          Give it
        </Button>
      </span>
    );
  return (
    <>
      <Quantity value={slide.mpp} unit="µm per pixel" />
      <span class="soft small" style={{ display: "block" }}>
        {slide.mpp_from === "you" ? "given by hand" : "from the file"}
      </span>
    </>
  );
}

function Newest({ slide, segmentation }: { slide: Slide; segmentation: Segmentation | undefined }) {
  if (!segmentation) return <Link href={`/segment?slides=${slide.id}`}>Segment</Link>;
  const href =
    segmentation.state === "succeeded"
      ? `/slides/${slide.id}?seg=${segmentation.id}`
      : `/segment?slides=${slide.id}&seg=${segmentation.id}`;
  return (
    <>
      <StateBadge state={segmentation.state} />
      <span class="small" style={{ display: "block" }}>
        <Link href={href}>{segmentation.model}</Link>
      </span>
    </>
  );
}

interface EditProps {
  slide: Slide | null;
  onClose: () => void;
  onSaved: (slide: Slide) => void;
}

/** Subject and pixel size of a stored slide. */
function EditDialog({ slide, onClose, onSaved }: EditProps) {
  return (
    <Dialog title={slide ? slide.name : ""} open={slide !== null} onClose={onClose}>
      {slide ? (
        <>
          <h3>Pixel size</h3>
          <p>{slide.mpp === null ? "None is known." : `${slide.mpp} µm per pixel now.`}</p>
          <PixelSizes slides={[slide]} onSaved={onSaved} />
          <h3>Subject</h3>
          <SubjectForm slide={slide} onSaved={onSaved} />
        </>
      ) : null}
    </Dialog>
  );
}

function SubjectForm({ slide, onSaved }: { slide: Slide; onSaved: (slide: Slide) => void }) {
  const [subject, setSubject] = useState(slide.subject ?? "");
  const save = useAction(async () => {
    const body = { subject: subject.trim() || null };
    onSaved(await sendJson<Slide>("PATCH", `/v1/slides/${encodeURIComponent(slide.id)}`, body));
    announce("Subject saved");
  });
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        void save.run();
      }}
    >
      <Field label="The animal or person it comes from">
        {(ids) => (
          <input
            {...ids}
            maxLength={200}
            value={subject}
            onInput={(e) => setSubject(e.currentTarget.value)}
          />
        )}
      </Field>
      <ProblemNote problem={save.problem} />
      <div>
        <Button type="submit" busy={save.running}>
          Save subject
        </Button>
      </div>
    </form>
  );
}
