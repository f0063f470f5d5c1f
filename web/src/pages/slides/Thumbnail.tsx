import { useEffect, useState } from "preact/hooks";
import { getBlob } from "../../api/client";
import { useResource } from "../../api/resource";
import type { Slide } from "../../api/types";
import { thumbnailLevel } from "../../pure/transfers";

/** A slide as one small picture: the largest level that is one tile. A large flat file has one only after a while. */
export function Thumbnail({ slide }: { slide: Slide }) {
  const [url, setUrl] = useState<string | null>(null);
  const level = thumbnailLevel(slide.width, slide.height);
  const path = `/v1/slides/${encodeURIComponent(slide.id)}/deepzoom_files/${level}/0_0.jpeg`;
  const picture = useResource(path, (signal) => getBlob(path, signal));
  const blob = picture.data;
  useEffect(() => {
    if (!blob) return;
    const made = URL.createObjectURL(blob);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [blob]);
  const words = picture.problem === null ? "…" : picture.problem.status === 503 ? "being made" : "no picture";
  return (
    <span class="thumbnail">
      {blob && url ? <img src={url} alt="" /> : <span class="soft small">{words}</span>}
    </span>
  );
}
