/** The citizen's form: photos with previews, the place on a map, sending that survives a bad network. */

import { whenNear } from "./map/frame";
import { Candidates } from "./report/candidates";
import { faultsOf } from "./report/checks";
import { PhotoTray } from "./report/photos";
import { PlacePicker } from "./report/place";
import { newKey, post, RETRY_AFTER_S, waitToRetry, type Outcome } from "./report/send";
import { group, readWords, say, type Words } from "./words";

class ReportForm {
  private readonly words: Words;
  private readonly photos: PhotoTray;
  private readonly progress = document.getElementById("send-progress") as HTMLElement;
  private readonly button = document.getElementById("send") as HTMLButtonElement;
  private isSending = false;

  constructor(private readonly form: HTMLFormElement) {
    this.words = readWords(form);
    const key = this.control("idempotency_key");
    if (!key.value) key.value = newKey();
    this.photos = this.openPhotos();
    this.openPlace();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.submit();
    });
    // Half a report is easily lost by a thumb on "back".
    addEventListener("beforeunload", (event) => {
      if (this.photos.files.length > 0 && !form.dataset.sent) event.preventDefault();
    });
  }

  private openPhotos(): PhotoTray {
    const list = document.getElementById("photo-list") as HTMLElement;
    const status = document.getElementById("photo-status") as HTMLElement;
    const { photoMaxBytes, photosMax } = this.form.dataset;
    const limits = { maxBytes: Number(photoMaxBytes), maxCount: Number(photosMax) };
    const tray = new PhotoTray(list, status, limits, this.words);
    for (const input of this.form.querySelectorAll<HTMLInputElement>("input[type=file]")) {
      input.addEventListener("change", () => tray.takeFrom(input));
      if (input.files?.length) tray.takeFrom(input); // chosen before the script arrived
    }
    return tray;
  }

  private openPlace(): void {
    const fieldset = document.getElementById("candidates") as HTMLFieldSetElement;
    const candidates = new Candidates(fieldset, this.form.dataset.nearestUrl ?? "/api/v1/waters/nearest", this.words);
    const picker = new PlacePicker(this.form, candidates, this.words);
    const typed = document.getElementById("place-typed") as HTMLDetailsElement;
    typed.open = typed.querySelector(".field-error") !== null;
    const frame = document.getElementById("place-map");
    if (frame) whenNear(frame, () => void picker.open(frame));
  }

  private async submit(): Promise<void> {
    if (this.isSending) return;
    const faults = faultsOf({
      photos: this.photos.files.length,
      kind: this.form.querySelector<HTMLInputElement>("input[name=kind]:checked")?.value ?? "",
      lon: this.control("lon").value,
      lat: this.control("lat").value,
      isConfirmed: this.control("place_confirmed").checked,
    });
    this.showFaults(faults.map(([field, code]) => [field, say(this.words, code)]));
    if (faults.length > 0) return;
    this.isSending = true;
    this.button.setAttribute("aria-disabled", "true");
    this.finish(await this.sendWithRetries());
    this.isSending = false;
    this.button.removeAttribute("aria-disabled");
  }

  private async sendWithRetries(): Promise<Outcome> {
    for (const afterS of [...RETRY_AFTER_S, null]) {
      this.showProgress(0);
      const outcome = await post(this.form.action, this.body(), (share) => this.showProgress(share));
      if (outcome.kind !== "failed" || afterS === null) return outcome;
      this.tell(navigator.onLine ? say(this.words, "retrying", { seconds: afterS }) : say(this.words, "offline"), "warning");
      await waitToRetry(afterS);
    }
    return { kind: "failed" };
  }

  private finish(outcome: Outcome): void {
    if (outcome.kind === "received") {
      this.form.dataset.sent = "yes";
      this.tell(say(this.words, "sent"), "success");
      location.assign(outcome.followUrl);
    } else if (outcome.kind === "refused") {
      const words = group(this.words, "codes");
      const lines = Object.entries(outcome.codes).flatMap(([field, codes]) =>
        codes.map((code): [string, string] => [field, words[code] ?? outcome.detail]),
      );
      this.showFaults(lines);
      this.tell(lines.length > 0 ? "" : say(this.words, "refused", { reason: outcome.detail }), "error");
    } else {
      this.tell(say(this.words, "gave_up"), "error");
      this.button.textContent = say(this.words, "try_again");
    }
  }

  private body(): FormData {
    const body = new FormData(this.form);
    body.delete("photo");
    for (const file of this.photos.files) body.append("photo", file, file.name);
    return body;
  }

  private showFaults(lines: ReadonlyArray<readonly [field: string, words: string]>): void {
    const place = document.getElementById("script-errors") as HTMLElement;
    for (const old of document.querySelectorAll(".error-summary")) old.remove();
    if (lines.length === 0) return;
    const summary = Object.assign(document.createElement("div"), { className: "error-summary", tabIndex: -1 });
    summary.setAttribute("role", "alert");
    const list = document.createElement("ul");
    for (const [field, words] of lines) {
      const row = document.createElement("li");
      const link = Object.assign(document.createElement("a"), { href: `#${field}`, textContent: words });
      link.addEventListener("click", () => this.reveal(field));
      row.append(link);
      list.append(row);
    }
    summary.append(Object.assign(document.createElement("h2"), { textContent: say(this.words, "summary") }), list);
    place.append(summary);
    summary.focus();
    summary.scrollIntoView({ block: "start" });
  }

  /** The numbers' fields lie in a closed part of the form: open it before the browser jumps there. */
  private reveal(field: string): void {
    const target = document.getElementById(field);
    const details = target?.closest("details");
    if (details) details.open = true;
    setTimeout(() => target?.focus());
  }

  private showProgress(share: number): void {
    const percent = Math.round(share * 100);
    const bar = this.progress.querySelector("progress") ?? Object.assign(document.createElement("progress"), { max: 1, className: "progress" });
    bar.value = share;
    const text = share < 1 ? say(this.words, "sending", { percent }) : say(this.words, "storing");
    bar.setAttribute("aria-label", text);
    const line = this.progress.querySelector("p") ?? document.createElement("p");
    line.textContent = text;
    if (!bar.isConnected) this.progress.replaceChildren(line, bar);
  }

  private tell(text: string, kind: "success" | "warning" | "error"): void {
    const note = Object.assign(document.createElement("p"), { className: `notice notice-${kind}`, textContent: text });
    this.progress.replaceChildren(...(text ? [note] : []));
  }

  private control(name: string): HTMLInputElement {
    return this.form.elements.namedItem(name) as HTMLInputElement;
  }
}

const form = document.querySelector<HTMLFormElement>("form#report");
if (form) new ReportForm(form);
