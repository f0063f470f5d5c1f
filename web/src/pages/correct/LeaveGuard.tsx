import { useEffect, useState } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { Button } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";

/** Ask before one leaves with changes that are not saved. */
export function LeaveGuard({ active, kept }: { active: boolean; kept: boolean }) {
  const [wanted, setWanted] = useState<string | null>(null);
  const [, navigate] = useLocation();
  useEffect(() => {
    if (!active) return;
    const unload = (event: BeforeUnloadEvent) => event.preventDefault();
    const clicked = (event: MouseEvent) => {
      const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
      const href = link?.getAttribute("href") ?? "";
      if (!href.startsWith("/") || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      event.stopPropagation();
      setWanted(href);
    };
    window.addEventListener("beforeunload", unload);
    document.addEventListener("click", clicked, true);
    return () => {
      window.removeEventListener("beforeunload", unload);
      document.removeEventListener("click", clicked, true);
    };
  }, [active]);
  return (
    <Dialog title="Your changes are not saved" open={wanted !== null} onClose={() => setWanted(null)}>
      <p>
        {kept
          ? "They stay in this browser: open this mask again and you go on from them. No colleague sees them until you save."
          : "This browser keeps no drafts: they are lost when you leave."}
      </p>
      <div class="row">
        <Button look="primary" onClick={() => setWanted(null)}>
          Stay
        </Button>
        <Button
          look={kept ? "normal" : "danger"}
          onClick={() => {
            const to = wanted ?? "/";
            setWanted(null);
            navigate(to);
          }}
        >
          Leave
        </Button>
      </div>
    </Dialog>
  );
}
