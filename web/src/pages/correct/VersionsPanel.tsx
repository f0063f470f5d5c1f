import { useState } from "preact/hooks";
import { download, saveBlob } from "../../api/client";
import { useAction } from "../../api/resource";
import type { Segmentation, Slide } from "../../api/types";
import { formatMoment } from "../../pure/format";
import { Button, ButtonLink } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { Notice, ProblemNote } from "../../ui/Notice";
import { StateBadge } from "../../ui/StateBadge";
import { Table } from "../../ui/Table";
import type { Versions } from "./CorrectPage";
import { Comparison } from "./Measures";
import { type Preview, previewOf, type Session, saveCorrection } from "./session";

export interface VersionsPanelProps {
  slide: Slide;
  segmentation: Segmentation;
  session: Session;
  versions: Versions | null;
  reloadVersions: () => void;
}

/** Who corrected what, files to take to QuPath, and those that come back. */
export function VersionsPanel(props: VersionsPanelProps) {
  return (
    <div class="stack">
      <History {...props} />
      <Export {...props} />
      <Import {...props} />
    </div>
  );
}

function History({ slide, segmentation, versions }: VersionsPanelProps) {
  if (!versions) return <p role="status">Reading the versions …</p>;
  const model = {
    id: versions.parent,
    name: "Model",
    by: segmentation.model,
    note: "as the model made it",
    at: null,
    state: null,
  };
  const rows = [
    ...versions.items.map((v) => ({
      id: v.id,
      name: `Version ${v.number}`,
      by: v.author_name || v.author,
      note: v.note || "no note",
      at: v.created_at as string | null,
      state: v.state as typeof v.state | null,
    })),
    model,
  ];
  return (
    <Table
      caption="Versions of this mask"
      rows={rows}
      keyOf={(v) => v.id}
      columns={[
        {
          title: "Version",
          cell: (v) => (
            <>
              {v.name}
              {v.id === versions.newest ? <span class="badge good">newest</span> : null}
              {v.state && v.state !== "succeeded" ? <StateBadge state={v.state} /> : null}
            </>
          ),
        },
        {
          title: "By, when, why",
          cell: (v) => (
            <>
              {v.by}
              {v.at ? `, ${formatMoment(v.at)}` : ""}
              <br />
              <span class="small soft">{v.note}</span>
            </>
          ),
        },
        {
          title: "Open",
          cell: (v) =>
            v.id === segmentation.id ? (
              "shown"
            ) : (
              <div class="row">
                <ButtonLink compact href={`/slides/${slide.id}/correct/${v.id}`}>
                  Correct
                </ButtonLink>
                <ButtonLink compact href={`/slides/${slide.id}?seg=${v.id}&b=${segmentation.id}`}>
                  Compare
                </ButtonLink>
              </div>
            ),
        },
      ]}
    />
  );
}

function Export({ slide, segmentation, session }: VersionsPanelProps) {
  const stem = slide.name.replace(/\.[^.]+$/, "");
  const save = useAction(async (name: string) =>
    download(`/v1/segmentations/${encodeURIComponent(segmentation.id)}/artefacts/${name}`, `${stem}-${name}`),
  );
  const painted = useAction(async () => saveBlob(await session.png(), `${stem}-painted.png`));
  return (
    <section class="stack tight">
      <h2>Take it along</h2>
      <div class="row">
        <Button compact busy={save.running} onClick={() => void save.run("annotations.geojson")}>
          Outlines for QuPath (as saved)
        </Button>
        <Button compact busy={painted.running} onClick={() => void painted.run()}>
          Painted image (as now)
        </Button>
      </div>
      <ProblemNote problem={save.problem ?? painted.problem} />
    </section>
  );
}

function Import({ segmentation, versions, reloadVersions }: VersionsPanelProps) {
  const [found, setFound] = useState<{ name: string; body: Blob; preview: Preview } | null>(null);
  const [saved, setSaved] = useState<number | null>(null);
  const base = segmentation.id;
  const look = useAction(async (file: File) => {
    setFound(null);
    setSaved(null);
    const body = new Blob([await file.arrayBuffer()], { type: "application/geo+json" });
    setFound({ name: file.name, body, preview: await previewOf(base, body) });
  });
  const save = useAction(async (body: Blob, name: string) => {
    const made = await saveCorrection(base, body, { base, note: `imported from ${name}`.slice(0, 500) });
    setSaved(made.number);
    setFound(null);
    reloadVersions();
  });
  return (
    <section class="stack tight">
      <h2>Bring it back from QuPath</h2>
      <Field
        label="Corrected GeoJSON"
        hint="All shapes of the mask, with their classes. It replaces the mask as a whole; what you painted here is not in it."
      >
        {(ids) => (
          <input
            {...ids}
            type="file"
            accept=".geojson,.json,application/geo+json"
            onChange={(e) => {
              const file = e.currentTarget.files?.[0];
              if (file) void look.run(file);
            }}
          />
        )}
      </Field>
      {look.running ? <p role="status">Measuring what is in it …</p> : null}
      <ProblemNote problem={look.problem ?? save.problem} />
      {found ? (
        <>
          <Comparison preview={found.preview} />
          <div class="row">
            <Button look="primary" busy={save.running} onClick={() => void save.run(found.body, found.name)}>
              Save {found.name} as version {(versions?.items[0]?.number ?? 0) + 1}
            </Button>
            <Button onClick={() => setFound(null)}>Drop it</Button>
          </div>
        </>
      ) : null}
      {saved === null ? null : (
        <Notice tone="good" title={`Saved as version ${saved}`}>
          <p>Its files are being written; open it from the versions above.</p>
        </Notice>
      )}
    </section>
  );
}
