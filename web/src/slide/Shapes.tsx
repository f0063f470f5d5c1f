import OpenSeadragon from "openseadragon";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** SVG over the slide, in slide pixels: it moves with the slide, and its lines keep their width. */
export function Shapes({ viewer, children }: { viewer: OpenSeadragon.Viewer; children?: ComponentChildren }) {
  const group = useRef<SVGGElement>(null);
  useEffect(() => {
    const place = () => {
      const item = viewer.world.getItemCount() ? viewer.world.getItemAt(0) : undefined;
      if (!item || !group.current) return;
      const zero = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(0, 0));
      const zoom = item.viewportToImageZoom(viewer.viewport.getZoom(true));
      group.current.setAttribute("transform", `translate(${zero.x} ${zero.y}) scale(${zoom})`);
      group.current.style.setProperty("--per-px", String(1 / zoom));
    };
    place();
    viewer.addHandler("update-viewport", place);
    viewer.addHandler("resize", place);
    return () => {
      viewer.removeHandler("update-viewport", place);
      viewer.removeHandler("resize", place);
    };
  }, [viewer]);
  return (
    <svg class="deep-zoom-shapes" aria-hidden="true">
      <g ref={group}>{children}</g>
    </svg>
  );
}
