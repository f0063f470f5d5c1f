import { useCallback } from "preact/hooks";
import { request } from "../../api/client";
import { useJson, useResource } from "../../api/resource";
import type { ApiShape, Segmentation, Slide } from "../../api/types";
import { decodeIndexPng, type IndexImage } from "../../pure/index_png";
import { Loaded } from "../../ui/Loading";
import { Notice } from "../../ui/Notice";
import type { PageProps } from "../../ui/page_routes";
import "./correct.css";
import { type Draft, readDraft } from "./drafts";
import { Editor } from "./Editor";

export type Versions = ApiShape<"CorrectionPage">;

interface Opened {
  segmentation: Segmentation;
  base: IndexImage;
  draft: { kept: Draft; image: IndexImage } | null;
}

/** Correct a mask: paint, see what changes, save it as a version of its own. */
export default function CorrectPage({ parameters }: PageProps) {
  const [id, seg] = [parameters.id ?? "", parameters.seg ?? ""];
  const slide = useJson<Slide>(`/v1/slides/${encodeURIComponent(id)}`);
  const versions = useJson<Versions>(`/v1/segmentations/${encodeURIComponent(seg)}/corrections`, {
    again: (page) => (page.items.some((v) => ["queued", "running"].includes(v.state)) ? 2000 : null),
  });
  const read = useCallback((signal: AbortSignal) => open(seg, signal), [seg]);
  const opened = useResource(`mask ${seg}`, read);
  return (
    <Loaded of={slide} what="the slide">
      {(shown) => (
        <Loaded of={opened} what="the mask">
          {(found) =>
            found.segmentation.slide === id ? (
              <Editor slide={shown} {...found} versions={versions.data} reloadVersions={versions.reload} />
            ) : (
              <Notice tone="bad" title="This mask is of another slide">
                <p>The address joins a slide with the mask of another one. Open it from its slide.</p>
              </Notice>
            )
          }
        </Loaded>
      )}
    </Loaded>
  );
}

async function open(id: string, signal: AbortSignal): Promise<Opened> {
  const path = `/v1/segmentations/${encodeURIComponent(id)}`;
  const [segmentation, mask, kept] = await Promise.all([
    request(path, { signal }).then((answer) => answer.json() as Promise<Segmentation>),
    request(`${path}/working_mask.png`, { signal }).then((answer) => answer.arrayBuffer()),
    readDraft(id),
  ]);
  const base = await decodeIndexPng(mask);
  const image = kept ? await decodeIndexPng(await kept.png.arrayBuffer()).catch(() => null) : null;
  const usable = image && image.width === base.width && image.height === base.height;
  return { segmentation, base, draft: kept && image && usable ? { kept, image } : null };
}
