import { download } from "../../api/client";
import { useAction } from "../../api/resource";
import type { Segmentation, Slide } from "../../api/types";
import { formatBytes, formatMoment } from "../../pure/format";
import { Button, ButtonLink } from "../../ui/Button";
import { ProblemNote } from "../../ui/Notice";
import { StateBadge } from "../../ui/StateBadge";
import { Table } from "../../ui/Table";

const ABOUT: Record<string, string> = {
  "mask.png": "Mask, class numbers as grey values",
  "mask.ome.tiff": "Mask with levels, colours and pixel size",
  "entropy.ome.tiff": "Entropy map (0 to 1)",
  "disagreement.ome.tiff": "Disagreement map (0 to 1)",
  "overlay.png": "Slide with the mask over it",
  "uncertainty.png": "Both maps with their legend",
  "annotations.geojson": "Outlines, for QuPath",
  "annotations.geojson.gz": "The same, packed",
  "rois.zip": "Outlines, for Fiji and ImageJ",
  "measures.csv": "Measures, for a spreadsheet",
  "measures.json": "Measures with their provenance",
  "measures_dictionary.csv": "What each column means",
  "thickness_profiles.csv": "Thickness by angle",
  "report.pdf": "Report to print",
};

/** Files to take along, and what else there is of this slide. */
export function FilesPanel({
  slide,
  segmentation,
  others,
  onShow,
}: {
  slide: Slide;
  segmentation: Segmentation | null;
  others: readonly Segmentation[];
  onShow: (id: string) => void;
}) {
  const save = useAction((url: string, name: string) => download(url, name));
  const stem = slide.name.replace(/\.[^.]+$/, "");
  return (
    <div class="stack">
      {segmentation ? (
        <>
          <ProblemNote problem={save.problem} />
          <Table
            caption="Files of this segmentation"
            rows={segmentation.artefacts}
            keyOf={(a) => a.name}
            columns={[
              {
                title: "File",
                cell: (a) => (
                  <>
                    <Button compact onClick={() => void save.run(a.url, `${stem}-${a.name}`)}>
                      {a.name}
                    </Button>
                    <br />
                    <span class="small soft">{ABOUT[a.name] ?? a.media_type}</span>
                  </>
                ),
              },
              { title: "Size", number: true, cell: (a) => formatBytes(a.bytes) },
            ]}
          />
        </>
      ) : null}
      <Table
        caption="Segmentations of this slide"
        rows={others}
        keyOf={(s) => s.id}
        columns={[
          {
            title: "Model",
            cell: (s) => (
              <>
                {s.model}
                {s.result?.region ? <span class="soft"> (region)</span> : null}
                <br />
                <span class="small soft">{formatMoment(s.created_at)}</span>
              </>
            ),
          },
          { title: "State", cell: (s) => <StateBadge state={s.state} /> },
          {
            title: "Look",
            cell: (s) =>
              s.state !== "succeeded" ? (
                <ButtonLink compact href={`/jobs/${s.job}`}>
                  Job
                </ButtonLink>
              ) : s.id === segmentation?.id ? (
                "shown"
              ) : (
                <Button compact onClick={() => onShow(s.id)}>
                  Show
                </Button>
              ),
          },
        ]}
      />
    </div>
  );
}
