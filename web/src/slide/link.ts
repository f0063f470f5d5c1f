/** Windows on one slide that move together. */
import type OpenSeadragon from "openseadragon";

export class Link {
  private readonly viewers = new Set<OpenSeadragon.Viewer>();
  private following = false;

  /** Let a viewer lead and follow; returns what takes it out again. */
  join(viewer: OpenSeadragon.Viewer): () => void {
    const lead = () => this.lead(viewer);
    this.viewers.add(viewer);
    viewer.addHandler("viewport-change", lead);
    return () => {
      this.viewers.delete(viewer);
      viewer.removeHandler("viewport-change", lead);
    };
  }

  private lead(leader: OpenSeadragon.Viewer): void {
    if (this.following || !leader.viewport) return;
    this.following = true;
    const [zoom, centre] = [leader.viewport.getZoom(true), leader.viewport.getCenter(true)];
    for (const viewer of this.viewers) {
      if (viewer === leader || !viewer.viewport) continue;
      viewer.viewport.zoomTo(zoom, undefined, true);
      viewer.viewport.panTo(centre, true);
    }
    this.following = false;
  }
}
