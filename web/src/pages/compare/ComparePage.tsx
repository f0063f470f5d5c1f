import { useAnswer } from "../../api/answer";
import { type ApiCall, useApiCalls } from "../../api/calls";
import type { Verdict } from "../../api/types";
import { ButtonLink } from "../../ui/Button";
import { Loaded } from "../../ui/Loading";
import { PageHead } from "../../ui/PageHead";
import { useParameters } from "../../ui/url";
import { Answer } from "./Answer";
import { AskForm } from "./AskForm";
import { comparisonBody, missing, planBody, type Question, questionOf } from "./question";

/** Two models, a margin fixed beforehand, and one of five verdicts. */
export default function ComparePage() {
  const [url] = useParameters();
  const question = questionOf(url);
  const wanting = missing(question);
  const body = wanting.length === 0 ? comparisonBody(question) : null;
  const asked = url.get("ask") === "1" ? body : null;
  const verdict = useAnswer<Verdict>("/v1/comparisons", asked);
  useApiCalls(callsOf(question, body));
  return (
    <>
      <PageHead
        title="Compare two models"
        about="Different, equivalent, or cannot tell: one of five verdicts, decided by a margin that you fix before you look."
      >
        <ButtonLink href="/planner">How many subjects?</ButtonLink>
        <ButtonLink href="/plans">Locked plans</ButtonLink>
      </PageHead>
      <div class="stack">
        {asked ? (
          <Loaded of={verdict} what="the verdict">
            {(found) => <Answer verdict={found} body={asked} />}
          </Loaded>
        ) : null}
        <AskForm question={question} wanting={wanting} asked={asked !== null} />
      </div>
    </>
  );
}

const EXAMPLE = {
  a: { benchmark: "bmk_...", architecture: "unet" },
  b: { benchmark: "bmk_...", architecture: "deeplabv3plus" },
  metric: "dice",
  class: "macro",
  margin: { value: 0.02, basis: "stated" },
};

function callsOf(question: Question, asked: object | null): ApiCall[] {
  const body = asked ?? EXAMPLE;
  const figure = "/v1/comparisons/figures/forest.svg";
  const report = "/v1/comparisons/report.pdf";
  const calls: ApiCall[] = [
    {
      title: asked ? "The verdict" : "A verdict (fill in the form)",
      method: "POST",
      path: "/v1/comparisons",
      body,
    },
    {
      title: "Its figure (forest or slopes; svg, pdf or csv)",
      method: "POST",
      path: figure,
      body,
      saveAs: "forest.svg",
    },
    { title: "Its report", method: "POST", path: report, body, saveAs: "comparison.pdf" },
  ];
  if (asked && question.plan === null)
    calls.push({
      title: "Lock this as a plan",
      method: "POST",
      path: "/v1/plans",
      body: planBody(question, "My plan"),
    });
  return calls;
}
