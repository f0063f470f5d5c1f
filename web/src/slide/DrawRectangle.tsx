import OpenSeadragon from "openseadragon";
import { useRef, useState } from "preact/hooks";

interface Corner {
  /** In pixels of the window. */
  left: number;
  top: number;
}

/** Take the pointer and draw a rectangle; both corners are said in slide pixels. */
export function DrawRectangle({
  viewer,
  onDrawn,
}: {
  viewer: OpenSeadragon.Viewer;
  onDrawn: (corner: { x: number; y: number }, opposite: { x: number; y: number }) => void;
}) {
  const start = useRef<Corner | null>(null);
  const [box, setBox] = useState<{ from: Corner; to: Corner } | null>(null);
  const cornerOf = (event: PointerEvent): Corner => {
    const place = viewer.container.getBoundingClientRect();
    return { left: event.clientX - place.left, top: event.clientY - place.top };
  };
  const onSlide = ({ left, top }: Corner) => {
    const { x, y } = viewer.world
      .getItemAt(0)
      .viewerElementToImageCoordinates(new OpenSeadragon.Point(left, top));
    return { x, y };
  };
  return (
    <div
      class="deep-zoom-draw"
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        start.current = cornerOf(event);
      }}
      onPointerMove={(event) => {
        if (start.current) setBox({ from: start.current, to: cornerOf(event) });
      }}
      onPointerUp={(event) => {
        if (start.current) onDrawn(onSlide(start.current), onSlide(cornerOf(event)));
        start.current = null;
        setBox(null);
      }}
    >
      {box ? (
        <div
          class="deep-zoom-rubber"
          style={{
            left: `${Math.min(box.from.left, box.to.left)}px`,
            top: `${Math.min(box.from.top, box.to.top)}px`,
            width: `${Math.abs(box.to.left - box.from.left)}px`,
            height: `${Math.abs(box.to.top - box.from.top)}px`,
          }}
        />
      ) : null}
    </div>
  );
}
