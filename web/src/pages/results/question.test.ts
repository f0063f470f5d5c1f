import { expect, test } from "vitest";
import type { Benchmark } from "../../api/types";
import { protocolsOf, questionOf, rankingBody } from "./question";

const benchmark = {
  id: "bmk_1",
  leaderboard: [
    { model: "a", protocol: "kfold3" },
    { model: "b", protocol: "kfold3" },
    { model: "a", protocol: "loocv" },
  ],
} as Benchmark;

test("each protocol is offered once", () => {
  expect(protocolsOf(benchmark)).toEqual(["kfold3", "loocv"]);
});

test("without a word in the URL the first protocol is asked, without a margin", () => {
  const question = questionOf(benchmark, new URLSearchParams());
  expect(rankingBody(question)).toEqual({
    benchmark: "bmk_1",
    protocol: "kfold3",
    metric: "dice",
    class: "macro",
  });
});

test.each(["0", "-1", "much", ""])("margin %j is no margin", (margin) => {
  expect(questionOf(benchmark, new URLSearchParams({ margin })).margin).toBeNull();
});

test("a margin is stated", () => {
  const question = questionOf(
    benchmark,
    new URLSearchParams({ margin: "0.02", metric: "hd95", class: "media" }),
  );
  expect(rankingBody(question)).toMatchObject({ metric: "hd95", margin: { value: 0.02, basis: "stated" } });
});
