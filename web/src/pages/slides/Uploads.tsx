import { useId, useRef, useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { useAction, useJson } from "../../api/resource";
import type { ApiShape, Slide } from "../../api/types";
import { forgetUpload, storeUpload } from "../../api/uploads";
import { count, formatBytes, formatDuration, formatMoment, formatPercent } from "../../pure/format";
import { isResumable, restOf, speedOf } from "../../pure/transfers";
import { announce } from "../../ui/announce";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { Notice, ProblemNote } from "../../ui/Notice";
import { PixelSizes } from "./PixelSizes";
import {
  addFiles,
  drop,
  dropStored,
  isOpen,
  pause,
  renewSlide,
  resume,
  type Transfer,
  useTransfers,
} from "./queue";

/** Send files: drop them or choose them, watch them, stop and go on, and give what their files do not state. */
export function Uploads({ onStored }: { onStored: () => void }) {
  const transfers = useTransfers();
  const lacking = transfers.flatMap((t) => (t.slide && t.slide.mpp === null ? [t.slide] : []));
  const saved = (slide: Slide) => {
    renewSlide(slide);
    onStored();
  };
  return (
    <section class="card stack" aria-labelledby="upload-head">
      <h2 id="upload-head">Upload</h2>
      <DropZone />
      <Unfinished transfers={transfers} onStored={onStored} />
      {lacking.length ? (
        <Notice
          tone="warn"
          title={`${count(lacking.length, "slide")} ${lacking.length === 1 ? "states" : "state"} no pixel size`}
        >
          <PixelSizes slides={lacking} onSaved={saved} />
        </Notice>
      ) : null}
      {transfers.length ? <TransferList transfers={transfers} /> : null}
    </section>
  );
}

function DropZone() {
  const input = useRef<HTMLInputElement>(null);
  const [over, setOver] = useState(false);
  const [subject, setSubject] = useState("");
  const [deidentify, setDeidentify] = useState(false);
  const [remark, setRemark] = useState("");
  const hint = useId();
  const take = (files: readonly File[], folders: readonly string[]) => {
    const twice = addFiles(files, { subject: subject.trim() || null, deidentify });
    setRemark(
      [foldersRefused(folders), twice.length ? `Already on the list: ${twice.join(", ")}.` : ""]
        .join(" ")
        .trim(),
    );
    if (files.length) announce(`${count(files.length, "file")} taken`);
  };
  return (
    <>
      <div class="row" style={{ alignItems: "start" }}>
        <Field
          label="Subject"
          hint="Optional: the animal or person these come from. Measures are averaged within it."
        >
          {(ids) => (
            <input
              {...ids}
              maxLength={200}
              value={subject}
              onInput={(e) => setSubject(e.currentTarget.value)}
            />
          )}
        </Field>
        <label class="check">
          <input
            type="checkbox"
            checked={deidentify}
            onChange={(event) => setDeidentify(event.currentTarget.checked)}
          />
          <span>
            Remove label, names and dates
            <span class="soft small" style={{ display: "block" }}>
              Stores a copy without the label picture and identifying fields, under a neutral name.
            </span>
          </span>
        </label>
      </div>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: dropping is a second way; the button in it is the first */}
      <div
        class={`drop-zone ${over ? "over" : ""}`}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          const { files, folders } = dropped(event.dataTransfer);
          take(files, folders);
        }}
      >
        <Button look="primary" onClick={() => input.current?.click()} aria-describedby={hint}>
          Choose files
        </Button>
        <span>or drop them here</span>
        <input
          ref={input}
          type="file"
          multiple
          hidden
          aria-label="Slide files"
          onChange={(event) => {
            take([...(event.currentTarget.files ?? [])], []);
            event.currentTarget.value = "";
          }}
        />
        <span class="soft small" id={hint}>
          SVS, TIFF, OME-TIFF, NDPI, SCN, BIF, DICOM, PNG, JPEG. MRXS and DICOM of several files: one zip per
          slide.
        </span>
      </div>
      {remark ? <Notice tone="warn">{remark}</Notice> : null}
    </>
  );
}

function dropped(data: DataTransfer | null): { files: File[]; folders: string[] } {
  const files: File[] = [];
  const folders: string[] = [];
  for (const item of data?.items ?? []) {
    const entry = item.kind === "file" ? item.webkitGetAsEntry() : null;
    const file = item.kind === "file" ? item.getAsFile() : null;
    if (entry?.isDirectory) folders.push(entry.name);
    else if (file) files.push(file);
  }
  return { files, folders };
}

function foldersRefused(names: readonly string[]): string {
  if (!names.length) return "";
  return `${names.join(", ")}: a folder cannot be sent. Choose the files in it, or zip the folder of one slide.`;
}

function TransferList({ transfers }: { transfers: readonly Transfer[] }) {
  const open = transfers.filter(isOpen).length;
  const stored = transfers.filter((t) => t.state === "stored").length;
  return (
    <>
      <div class="row">
        <h3 style={{ margin: 0 }}>{open ? `Sending ${count(open, "file")}` : "Sent from here"}</h3>
        {stored ? (
          <Button compact look="plain" onClick={dropStored}>
            Clear what is stored
          </Button>
        ) : null}
      </div>
      <ul class="plain stack" aria-label="Files">
        {transfers.map((transfer) => (
          <TransferRow key={transfer.id} transfer={transfer} />
        ))}
      </ul>
    </>
  );
}

const WORDS: Record<Transfer["state"], string> = {
  waiting: "waits for its turn",
  sending: "being sent",
  paused: "paused",
  checking: "all sent; being checked and opened",
  stored: "stored",
  failed: "failed",
};
const TONES: Record<Transfer["state"], string> = {
  waiting: "",
  sending: "busy",
  paused: "warn",
  checking: "busy",
  stored: "good",
  failed: "bad",
};

function TransferRow({ transfer }: { transfer: Transfer }) {
  const { id, file, state, sent, problem } = transfer;
  const name = transfer.slide ? <Link href={`/slides/${transfer.slide.id}`}>{file.name}</Link> : file.name;
  return (
    <li class="transfer" data-state={state}>
      <div class="row">
        <strong class="name">{name}</strong>
        <span class={`badge ${TONES[state]}`}>{WORDS[state]}</span>
        <span class="soft small">{inNumbers(transfer)}</span>
        <Actions transfer={transfer} />
      </div>
      {["sending", "paused", "checking"].includes(state) ? (
        <progress
          max={file.size}
          value={sent}
          aria-label={file.name}
          aria-valuetext={`${formatPercent(sent / file.size)}, ${WORDS[state]}`}
          id={`transfer-${id}`}
        />
      ) : null}
      {state === "stored" ? <Hashes transfer={transfer} /> : null}
      <ProblemNote problem={problem} />
    </li>
  );
}

function inNumbers({ state, sent, file, samples }: Transfer): string {
  const total = formatBytes(file.size);
  if (state !== "sending" && state !== "paused") return total;
  const speed = speedOf(samples);
  const rest = restOf(sent, file.size, speed);
  const pace = speed === null ? "" : `, ${formatBytes(speed)}/s`;
  const left = rest === null ? "" : `, about ${formatDuration(rest)} left`;
  return `${formatBytes(sent)} of ${total}${pace}${left}`;
}

function Actions({ transfer }: { transfer: Transfer }) {
  const { id, file, state, problem } = transfer;
  const removal = useAction(() => drop(id));
  const label = (verb: string) => `${verb} ${file.name}`;
  const again = state === "failed" && problem?.code !== "not_sent" && problem?.status !== 422;
  return (
    <span class="row" style={{ marginLeft: "auto" }}>
      {state === "sending" && isResumable(file.size) ? (
        <Button compact onClick={() => pause(id)} aria-label={label("Pause")}>
          Pause
        </Button>
      ) : null}
      {state === "paused" ? (
        <Button compact look="primary" onClick={() => resume(id)} aria-label={label("Go on with")}>
          Go on
        </Button>
      ) : null}
      {again ? (
        <Button
          compact
          look="primary"
          onClick={() => resume(id)}
          aria-label={label(isResumable(file.size) ? "Go on with" : "Try again:")}
        >
          {isResumable(file.size) ? "Go on" : "Try again"}
        </Button>
      ) : null}
      {state === "stored" ? null : (
        <Button
          compact
          onClick={() => void removal.run()}
          aria-label={label(state === "failed" ? "Remove" : "Cancel")}
        >
          {state === "failed" ? "Remove" : "Cancel"}
        </Button>
      )}
    </span>
  );
}

function Hashes({ transfer }: { transfer: Transfer }) {
  if (!transfer.sha256 || !transfer.slide) return null;
  return (
    <details class="small">
      <summary>Arrived as it was sent</summary>
      <p class="mono" style={{ overflowWrap: "anywhere" }}>
        SHA-256 {transfer.sha256}
      </p>
      <p class="soft">
        {transfer.words.deidentify
          ? "Computed by this browser and checked by the server on arrival. What is stored is a copy without names, with another hash."
          : "Computed by this browser, checked by the server on arrival and stored with the slide."}
      </p>
    </details>
  );
}

type Upload = ApiShape<"UploadView">;

/** What this user began to send earlier and did not finish: the browser needs the file again, the server has its part. */
function Unfinished({ transfers, onStored }: { transfers: readonly Transfer[]; onStored: () => void }) {
  const uploads = useJson<ApiShape<"UploadList">>("/v1/uploads");
  const mine = new Set(transfers.map((t) => t.path));
  const names = new Set(
    transfers.filter((t) => t.state !== "stored").map((t) => `${t.file.name} ${t.file.size}`),
  );
  const left = (uploads.data?.items ?? []).filter(
    (u) => u.state !== "stored" && !mine.has(`/v1/uploads/${u.id}`) && !names.has(`${u.name} ${u.length}`),
  );
  if (uploads.problem && uploads.problem.status !== 403) return <ProblemNote problem={uploads.problem} />;
  if (!left.length) return null;
  return (
    <Notice title="Not finished earlier">
      <ul class="plain stack">
        {left.map((upload) => (
          <li key={upload.id}>
            <Leftover
              upload={upload}
              onGone={() => {
                uploads.reload();
                onStored();
              }}
            />
          </li>
        ))}
      </ul>
    </Notice>
  );
}

function Leftover({ upload, onGone }: { upload: Upload; onGone: () => void }) {
  const path = `/v1/uploads/${upload.id}`;
  const words = { subject: upload.choices?.subject ?? null, deidentify: upload.choices?.deidentify ?? false };
  const finish = useAction(() => storeUpload(path, words, null).then(onGone));
  const forget = useAction(() => forgetUpload(path).then(onGone));
  const whole = upload.state === "received";
  return (
    <>
      <div class="row">
        <strong class="name">{upload.name}</strong>
        <span class="soft small">
          {whole
            ? "all bytes are there"
            : `${formatPercent(upload.offset / upload.length)} of ${formatBytes(upload.length)} are there; choose the same file again to go on`}
          , kept until {formatMoment(upload.expires_at)}
        </span>
        <span class="row" style={{ marginLeft: "auto" }}>
          {whole ? (
            <Button compact look="primary" busy={finish.running} onClick={() => void finish.run()}>
              Store it
            </Button>
          ) : null}
          <Button
            compact
            busy={forget.running}
            onClick={() => void forget.run()}
            aria-label={`Forget ${upload.name}`}
          >
            Forget
          </Button>
        </span>
      </div>
      <ProblemNote problem={finish.problem ?? forget.problem} />
    </>
  );
}
