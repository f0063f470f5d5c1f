/** Shapes of the api and of the stats service, by the names of their contracts. */
import type { components as Api } from "./generated/api";
import type { components as Stats } from "./generated/stats";

/** A shape of the api: `ApiShape<"SlideView">`. */
export type ApiShape<Name extends keyof Api["schemas"]> = Api["schemas"][Name];
/** A shape of the stats service: `StatsShape<"Verdict">`. */
export type StatsShape<Name extends keyof Stats["schemas"]> = Stats["schemas"][Name];

export type Slide = ApiShape<"SlideView">;
export type Segmentation = ApiShape<"SegmentationView">;
export type Job = ApiShape<"JobView">;
export type JobState = Job["state"];
export type Benchmark = ApiShape<"BenchmarkView">;
export type Dataset = ApiShape<"Dataset">;
export type ModelVersion = ApiShape<"ModelVersion">;
export type Verdict = StatsShape<"Verdict">;
export type Ranking = StatsShape<"Ranking">;

/** A page of a list. */
export interface Page<Item> {
  items: Item[];
  next_page_token: string;
}
