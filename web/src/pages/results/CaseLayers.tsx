import { useJson } from "../../api/resource";
import { asWords } from "../../pure/format";
import { Loaded } from "../../ui/Loading";
import { Table } from "../../ui/Table";
import { type CaseExplanation, layersOf, measuresOf } from "./case_words";

/** What the figure of a section shows, as text. */
export function CaseLayers({ path }: { path: string }) {
  const found = useJson<CaseExplanation>(path);
  return (
    <Loaded of={found} what="the layers">
      {(explanation) => (
        <>
          <div class="grid">
            {layersOf(explanation).map((layer) => (
              <section key={layer.title}>
                <h5 style={{ margin: 0, fontSize: "0.95rem" }}>{layer.title}</h5>
                <ul class="small" style={{ margin: 0, paddingLeft: "1.1rem" }}>
                  {layer.lines.map((line) => (
                    <li key={line}>{line}</li>
                  ))}
                </ul>
              </section>
            ))}
          </div>
          <Measures explanation={explanation} />
        </>
      )}
    </Loaded>
  );
}

function Measures({ explanation }: { explanation: CaseExplanation }) {
  const rows = measuresOf(explanation);
  if (rows.length === 0) return null;
  return (
    <details class="small">
      <summary>Measures of the largest vessel, true and predicted</summary>
      <Table
        caption="Measures of the largest vessel"
        captionHidden
        rows={rows}
        keyOf={(row) => row.name}
        columns={[
          { title: "Measure", cell: (row) => asWords(row.name) },
          { title: "True", number: true, cell: (row) => row.truth },
          { title: "Predicted", number: true, cell: (row) => row.predicted },
        ]}
      />
    </details>
  );
}
