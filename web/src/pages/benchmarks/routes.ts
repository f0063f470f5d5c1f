import type { PageRoute } from "../../ui/page_routes";

export const routes: PageRoute[] = [
  { path: "/benchmarks", load: () => import("./BenchmarksPage") },
  { path: "/benchmarks/new", load: () => import("./NewBenchmarkPage") },
  { path: "/benchmarks/:id", load: () => import("./BoardPage") },
  { path: "/benchmarks/:id/search", load: () => import("./SearchPage") },
];
