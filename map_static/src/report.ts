/** The citizen's form: photos, place, kind; kept on the phone first, sent when there is a network, received once. */

import { CHANNEL, flush, SYNC_TAG, whenFree, type Progress } from "./outbox/sender";
import { solveBeside } from "./outbox/work-page";
import { MemoryStore, openStore, StorageFull, type Field, type KeptReport, type State, type Store } from "./outbox/store";
import { isLeaving } from "./leave";
import { whenReached } from "./map/frame";
import { Candidates } from "./report/candidates";
import { faultsOf } from "./report/checks";
import { deviceId } from "./report/device";
import { clear, collect, fill } from "./report/fields";
import { KeptList } from "./report/kept-list";
import { newKey } from "./report/key";
import { Nearby } from "./report/nearby";
import { PhotoTray } from "./report/photos";
import { PlacePicker } from "./report/place";
import { guardCamera } from "./report/safety";
import { PlaceSearch } from "./report/search";
import { readWords, say, type Words } from "./words";

/** How often a page that stays open tries again what could not be sent. */
const AGAIN_MS = 30_000;

class ReportForm {
  private readonly words: Words;
  private readonly photos: PhotoTray;
  private readonly picker: PlacePicker;
  private readonly list: KeptList;
  private readonly progress = document.getElementById("send-progress") as HTMLElement;
  private readonly button = document.getElementById("send") as HTMLButtonElement;
  private store: Store = new MemoryStore();
  /** The report under this person's hands; its follow page is opened once it is received. */
  private current: string | null = null;
  private isKept = false;
  private isSending = false;
  private isAskedAgain = false;
  private isNext = false;
  /** The worker and other tabs: whoever sends tells the rest. */
  private readonly others = "BroadcastChannel" in window ? new BroadcastChannel(CHANNEL) : null;

  constructor(private readonly form: HTMLFormElement) {
    this.words = readWords(form);
    if (!this.key.value) this.key.value = newKey();
    this.control("device").value = deviceId();
    const inputs = [...form.querySelectorAll<HTMLInputElement>("input[type=file]")];
    this.photos = this.openPhotos(inputs);
    this.picker = this.openPlace();
    this.list = new KeptList(document.getElementById("kept") as HTMLElement, this.words, {
      edit: (report) => void this.edit(report),
      remove: (report) => void this.store.remove(report.key).then(() => this.showKept()),
      sendNow: () => void this.sendAtOnce(),
    });
    guardCamera(document.querySelector<HTMLDialogElement>("#safety-dialog"), inputs);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.submit();
    });
    // Half a report is easily lost by a thumb on "back".
    addEventListener("beforeunload", (event) => {
      if (this.photos.count > 0 && !this.isKept && !isLeaving()) event.preventDefault();
    });
    void this.begin();
  }

  private async begin(): Promise<void> {
    this.store = await openStore();
    await this.showKept();
    this.others?.addEventListener("message", (event: MessageEvent<{ progress?: Progress; changed?: string; checking?: string }>) => {
      if (event.data.progress) this.list.progress(event.data.progress.key, event.data.progress.share);
      if (event.data.checking) this.list.checking(event.data.checking);
      if (event.data.changed) void this.changed(event.data.changed);
    });
    addEventListener("online", () => void this.sendKept());
    addEventListener("offline", () => void this.showKept());
    setInterval(() => void this.sendKept(), AGAIN_MS);
    await this.sendKept();
    this.form.dataset.ready = "yes";
  }

  private openPhotos(inputs: readonly HTMLInputElement[]): PhotoTray {
    const list = document.getElementById("photo-list") as HTMLElement;
    const status = document.getElementById("photo-status") as HTMLElement;
    const { photoMaxBytes, photosMax } = this.form.dataset;
    const limits = { maxBytes: Number(photoMaxBytes), maxCount: Number(photosMax) };
    const tray = new PhotoTray(list, status, limits, this.words);
    for (const input of inputs) {
      const take = (): void => {
        tray.takeFrom(input);
        if (tray.count === 0) return;
        this.picker.locateOnce(); // while the person reads on, the phone finds out where they are
        void this.picker.open(); // the next step
      };
      input.addEventListener("change", take);
      if (input.files?.length) queueMicrotask(take); // chosen before the script arrived
    }
    return tray;
  }

  private openPlace(): PlacePicker {
    const fieldset = document.getElementById("candidates") as HTMLFieldSetElement;
    const candidates = new Candidates(fieldset, this.form.dataset.nearestUrl ?? "/api/v1/waters/nearest", this.words, (nearest) => this.picker.showWater(nearest.lon, nearest.lat));
    const nearby = new Nearby(document.getElementById("nearby") as HTMLElement, this.form, this.words);
    const picker = new PlacePicker(this.form, candidates, nearby, this.words);
    const typed = document.getElementById("place-typed") as HTMLDetailsElement;
    typed.open = typed.querySelector(".field-error") !== null;
    whenReached(document.getElementById("place-map") as HTMLElement, () => void picker.open());
    const search = document.getElementById("place-search") as HTMLInputElement;
    const [list, status] = ["place-found", "place-search-status"].map((id) => document.getElementById(id) as HTMLElement) as [HTMLElement, HTMLElement];
    new PlaceSearch(search, list, status, this.words, picker);
    return picker;
  }

  private async submit(): Promise<void> {
    if (this.button.getAttribute("aria-disabled") === "true") return;
    const faults = faultsOf({
      photos: this.photos.count,
      kind: this.form.querySelector<HTMLInputElement>("input[name=kind]:checked")?.value ?? "",
      lon: this.control("lon").value,
      lat: this.control("lat").value,
      isConfirmed: this.control("place_confirmed").checked,
      placeWords: this.control("place_words").value,
    });
    this.showFaults(faults.map(([field, code]) => [field, say(this.words, code)]));
    if (faults.length > 0) {
      if (this.photos.count > 0) this.offerKeeping();
      return;
    }
    this.button.setAttribute("aria-disabled", "true");
    if (await this.keep("waiting")) {
      if (!navigator.onLine) this.tell(say(this.words, "saved_offline"), "warning");
      await this.sendKept();
    }
    this.button.removeAttribute("aria-disabled");
  }

  /** Keep what is filled in. Where the phone has no room it stays in this page, and the person is told so. */
  private async keep(state: State): Promise<boolean> {
    this.tell(say(this.words, "preparing"), "quiet");
    const report: KeptReport = {
      key: this.key.value,
      savedAt: Date.now(),
      state,
      fields: this.fields(),
      photos: await this.photos.photos(),
      faults: {},
      receipt: null,
    };
    try {
      await this.store.put(report);
    } catch (error) {
      if (!(error instanceof StorageFull)) throw error;
      this.store = new MemoryStore();
      await this.store.put(report);
      this.tell(say(this.words, "storage_full"), "error");
    }
    this.current = state === "waiting" ? report.key : null;
    this.isKept = this.store.isLasting;
    this.tell("", "quiet");
    await this.showKept();
    return true;
  }

  /** The person asks: whatever the server said of coming later, it may say again. */
  private async sendAtOnce(): Promise<void> {
    for (const { notBefore, ...report } of await this.store.all()) {
      if (notBefore !== undefined) await this.store.put(report);
    }
    await this.sendKept();
  }

  private async sendKept(): Promise<void> {
    await this.showKept();
    if ((await this.store.all()).every((report) => report.state !== "waiting")) return;
    void this.askForSync(); // where no worker ever comes it never answers
    if (!navigator.onLine) return;
    if (this.isSending) {
      this.isAskedAgain = true;
      return;
    }
    this.isSending = true;
    const outcome = await flush(this.store, {
      onProgress: (progress) => this.list.progress(progress.key, progress.share),
      onChange: (key) => {
        this.others?.postMessage({ changed: key });
        void this.changed(key);
      },
      onChecking: (key) => this.list.checking(key),
      solve: solveBeside,
      isOver: isLeaving,
    });
    const isAskedAgain = this.isAskedAgain;
    this.isSending = this.isAskedAgain = false;
    if (outcome === "later") await this.showKept();
    if (outcome === "busy") void this.sendAfterOthers();
    if (outcome === "empty" && isAskedAgain) await this.sendKept(); // what was kept meanwhile
  }

  /** The worker or another tab is at it, and may just be failing: what it leaves does not wait for the next occasion. */
  private async sendAfterOthers(): Promise<void> {
    if (this.isNext) return;
    this.isNext = true;
    await whenFree();
    this.isNext = false;
    if (!isLeaving()) await this.sendKept();
  }

  /** The browser itself sends what waits, when it has a network and even when no page is open. Where it can. */
  private async askForSync(): Promise<void> {
    try {
      const registration = (await navigator.serviceWorker.ready) as ServiceWorkerRegistration & { sync?: { register(tag: string): Promise<void> } };
      await registration.sync?.register(SYNC_TAG);
    } catch {
      return; // the next time the page is open, then
    }
  }

  private async changed(key: string): Promise<void> {
    await this.showKept();
    const report = await this.store.get(key);
    if (!report || key !== this.current || isLeaving()) return;
    this.current = null;
    if (report.receipt) {
      this.isKept = true;
      this.tell(say(this.words, "sent"), "success");
      location.assign(new URL(report.receipt.followUrl).pathname);
    } else {
      await this.edit(report);
    }
  }

  /** Put a kept report back into the form; sent anew it keeps its key, so it cannot arrive twice. */
  private async edit(report: KeptReport): Promise<void> {
    await this.store.put({ ...report, state: "incomplete" });
    clear(this.form);
    this.key.value = report.key;
    this.photos.restore(report.photos);
    fill(this.form, report.fields);
    this.picker.restore();
    this.isKept = true;
    const known = this.words.codes as Record<string, string>;
    const lines = Object.entries(report.faults).flatMap(([field, codes]) => codes.map((code): [string, string] => [field, known[code] ?? say(this.words, "fault_other")]));
    this.showFaults(lines);
    await this.showKept();
    if (lines.length === 0) this.form.scrollIntoView({ block: "start" });
  }

  private offerKeeping(): void {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "button button-block", textContent: say(this.words, "keep_for_later") });
    button.addEventListener("click", () => {
      void this.keep("incomplete").then(() => {
        this.showFaults([]);
        clear(this.form);
        this.key.value = newKey();
        this.photos.restore([]);
        this.picker.restore();
        (document.getElementById("kept") as HTMLElement).scrollIntoView({ block: "start" });
      });
    });
    document.querySelector("#script-errors .error-summary")?.append(button);
  }

  private async showKept(): Promise<void> {
    this.list.show(await this.store.all());
  }

  private fields(): Record<string, Field> {
    return collect(new FormData(this.form), this.form.dataset.language ?? "zh-Hans");
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

  private tell(text: string, kind: "success" | "warning" | "error" | "quiet"): void {
    const note = Object.assign(document.createElement("p"), { className: `notice notice-${kind}`, textContent: text });
    this.progress.replaceChildren(...(text ? [note] : []));
  }

  private get key(): HTMLInputElement {
    return this.control("idempotency_key");
  }

  private control(name: string): HTMLInputElement {
    return this.form.elements.namedItem(name) as HTMLInputElement;
  }
}

const form = document.querySelector<HTMLFormElement>("form#report");
if (form) new ReportForm(form);
