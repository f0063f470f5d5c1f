import type { PageRoute } from "../../ui/page_routes";

export const routes: PageRoute[] = [{ path: "/segment", load: () => import("./SegmentPage") }];
