import type { ApiShape } from "../api/types";
import { type Box, turnOf } from "../pure/likeness";
import { AuthorisedImage } from "./AuthorisedImage";
import "./case_picture.css";

export type StoredCase = ApiShape<"StoredCase">;

/** Return where the picture of a case is; by the hash of its image, as names may hold anything. */
export function casePath(dataset: string, found: StoredCase, what: "image.jpeg" | "mask.png"): string {
  return `/v1/datasets/${encodeURIComponent(dataset)}/cases/${found.image_sha256}/${what}`;
}

export interface CasePictureProps {
  dataset: string;
  of: StoredCase;
  /** Longest side in pixels that is fetched. */
  px?: number;
  /** How strongly the mask lies over the image, 0 to 1. */
  mask?: number;
  /** Turned as the view of a likeness says. */
  view?: number;
  /** A part that is outlined. */
  outlined?: Box | undefined;
}

/** A case of a dataset: its image, with its mask over it where asked. */
export function CasePicture({ dataset, of, px = 256, mask = 0, view = 0, outlined }: CasePictureProps) {
  return (
    <div class="case-picture" style={view ? { transform: turnOf(view) } : {}}>
      <div class="case-frame" style={{ aspectRatio: `${of.width} / ${of.height}` }}>
        <AuthorisedImage
          src={`${casePath(dataset, of, "image.jpeg")}?px=${px}`}
          alt={`Image ${of.case} of ${of.subject}`}
          loading="lazy"
        />
        {mask > 0 ? (
          <AuthorisedImage
            class="case-mask"
            src={`${casePath(dataset, of, "mask.png")}?px=${px}`}
            alt={`Its mask`}
            style={{ opacity: mask }}
            loading="lazy"
          />
        ) : null}
        {outlined ? (
          <span
            class="case-outline"
            style={{
              left: `${100 * outlined.left}%`,
              top: `${100 * outlined.top}%`,
              width: `${100 * outlined.width}%`,
              height: `${100 * outlined.height}%`,
            }}
          />
        ) : null}
      </div>
    </div>
  );
}
