import { Notice } from "./Notice";

/** What must be read with an answer; nothing if there is nothing. */
export function Warnings({ of }: { of: readonly string[] }) {
  if (of.length === 0) return null;
  return (
    <Notice tone="warn" title={of.length === 1 ? "Read this with it" : "Read these with it"}>
      {of.length === 1 ? (
        <p>{of[0]}</p>
      ) : (
        <ul style={{ margin: 0, paddingLeft: "1.2rem" }}>
          {of.map((warning) => (
            <li key={warning}>{warning}</li>
          ))}
        </ul>
      )}
    </Notice>
  );
}
