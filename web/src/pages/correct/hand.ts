/** What pointer and keys do with the tool in hand. */
import { useMemo, useRef, useState } from "preact/hooks";
import type { Box, Point } from "../../pure/painting";
import { announce } from "../../ui/announce";
import type { Session } from "./session";
import type { ToolName } from "./tools";

export interface Held {
  session: Session;
  tool: ToolName;
  value: number;
  over: number | null;
  size: number;
}

export interface Hand {
  corners: readonly Point[];
  press: (at: Point) => void;
  move: (at: Point) => void;
  release: () => void;
  key: (key: string, at: Point, event: KeyboardEvent) => boolean;
}

/** Return the hand that holds a tool. */
export function useHand(held: Held): Hand {
  const [corners, setCorners] = useState<readonly Point[]>([]);
  const now = useRef({ ...held, corners });
  now.current = { ...held, corners };
  const last = useRef<Point | null>(null);
  const pen = useRef(false);
  const acts = useMemo(() => {
    const paint = () => {
      const { tool, value, over } = now.current;
      return { value: tool === "eraser" ? 0 : value, over };
    };
    const step = (act: () => Box | null) => {
      const { painting, touched } = now.current.session;
      painting.begin();
      const box = act();
      if (painting.end()) touched(box);
      return box;
    };
    const dab = (at: Point) => {
      const { session, size } = now.current;
      session.painting.begin();
      const box = session.painting.brush(last.current ?? at, at, size / 2, paint());
      last.current = at;
      session.touched(box);
    };
    const lift = () => {
      if (last.current === null) return;
      last.current = null;
      now.current.session.painting.end();
      now.current.session.touched({ left: 0, top: 0, right: 0, bottom: 0 });
    };
    const fill = (at: Point, closed: boolean) => {
      const box = step(() => now.current.session.painting.fill(at, paint(), closed));
      if (!box)
        announce(
          closed
            ? "Nothing was filled: this area reaches the edge, or has the class"
            : "Nothing to change here",
        );
    };
    const close = () => {
      const { corners: drawn } = now.current;
      setCorners([]);
      if (drawn.length < 3) return announce("A polygon needs three corners");
      step(() => now.current.session.painting.polygon(drawn, paint()));
    };
    const press = (at: Point) => {
      const { tool } = now.current;
      if (tool === "brush" || tool === "eraser") dab(at);
      else if (tool === "polygon") setCorners((drawn) => [...drawn, at]);
      else if (tool === "hole") fill(at, true);
      else if (tool === "area") fill(at, false);
    };
    const strokes = () => ["brush", "eraser"].includes(now.current.tool);
    const keys: Record<string, (at: Point) => void> = {
      " ": (at) => {
        press(at);
        if (strokes() && !pen.current) lift();
      },
      d: (at) => {
        if (!strokes()) return;
        pen.current = !pen.current;
        if (pen.current) dab(at);
        else lift();
        announce(pen.current ? "Pen down" : "Pen up");
      },
      Enter: () => now.current.corners.length && close(),
      Backspace: () => setCorners((drawn) => drawn.slice(0, -1)),
      Escape: () => {
        setCorners([]);
        pen.current = false;
        lift();
      },
    };
    return {
      press,
      move: (at: Point) => {
        if (last.current !== null && strokes()) dab(at);
      },
      release: () => {
        if (!pen.current) lift();
      },
      key: (key: string, at: Point, event: KeyboardEvent) => {
        const act = keys[key.length === 1 ? key.toLowerCase() : key];
        if (!act || event.ctrlKey || event.metaKey || event.altKey) return false;
        event.preventDefault();
        act(at);
        return true;
      },
    };
  }, []);
  return { corners, ...acts };
}
