import { PageHead } from "../../ui/PageHead";
import { Tabs } from "../../ui/Tabs";
import { useParameters } from "../../ui/url";
import { PowerTab } from "./PowerTab";
import { RankingsTab } from "./RankingsTab";

/** Before cutting sections: how many subjects? */
export default function PlannerPage() {
  const [url, setUrl] = useParameters();
  return (
    <>
      <PageHead
        title="How many subjects?"
        about="Before cutting sections: what a number of subjects can show, and where rankings settle."
      />
      <Tabs
        label="Kinds of plan"
        shown={url.get("view") ?? "power"}
        onShow={(view) => setUrl({ view: view === "power" ? null : view, sd: null })}
        tabs={[
          { key: "power", label: "Two models", content: () => <PowerTab /> },
          { key: "rankings", label: "Several models: where rankings settle", content: () => <RankingsTab /> },
        ]}
      />
    </>
  );
}
