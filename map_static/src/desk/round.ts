/**
 * One report after the other, without waiting: while one is on the screen the next is leased, fetched and its pictures
 * are decoded. A decision shows the next at once and is sent behind it; if it is not taken, the former report comes back
 * as it was, with what was typed.
 */

import { readText, say as word, type Words } from "../words";
import { hush, say } from "./toast";

interface Prepared {
  readonly id: string;
  readonly url: string;
  readonly title: string;
  readonly nodes: readonly Node[];
  readonly at: number;
  readonly leaseMs: number;
}

interface Hooks {
  /** A report has come onto the screen: make its parts work. */
  readonly shown: () => void;
}

const MARGIN_MS = 45_000; // a lease with less left is not begun with
const PICTURES_MS = 8_000;

export class Round {
  private prepared: Prepared | null = null;
  private preparing: Promise<void> | null = null;
  private sending: Promise<boolean> | null = null;
  private readonly held = new Set<string>();
  private stays = false;

  constructor(
    private readonly main: HTMLElement,
    private readonly words: Words,
    private readonly hooks: Hooks,
  ) {
    document.addEventListener("submit", (event) => this.submitted(event));
    document.addEventListener("click", (event) => {
      if ((event.target as Element).closest("a[data-stays]")) this.stays = true;
    });
    addEventListener("pagehide", () => this.leave());
    addEventListener("pageshow", (event) => {
      if (event.persisted) location.reload();
    });
    addEventListener("popstate", () => location.reload());
  }

  start(): void {
    const review = this.review();
    if (!review || !("mine" in review.dataset)) return;
    this.held.add(review.dataset.review ?? "");
    this.prepare();
  }

  private review(): HTMLElement | null {
    return this.main.querySelector<HTMLElement>("[data-review]");
  }

  private prepare(): Promise<void> {
    this.preparing ??= this.fetchNext().finally(() => (this.preparing = null));
    return this.preparing;
  }

  private async fetchNext(): Promise<void> {
    if (this.isFresh()) return;
    if (this.prepared) this.held.delete(this.prepared.id); // its lease has run out, or soon will: it may come again
    this.prepared = null;
    try {
      const fields = this.form();
      for (const id of this.held) fields.append("held", id);
      const answer = await fetch(word(this.words, "prepare"), { method: "POST", body: fields, headers: { Accept: "text/html" } });
      if (answer.status !== 200) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const review = page.querySelector<HTMLElement>("#main [data-review][data-mine]");
      const main = page.getElementById("main");
      if (!review || !main) return;
      const id = review.dataset.review ?? "";
      this.held.add(id);
      main.querySelector("form[data-undo]")?.remove(); // of what was decided before: the toast offers that
      const nodes = [...main.childNodes].map((node) => document.adoptNode(node));
      this.prepared = { id, url: answer.url, title: page.title, nodes, at: performance.now(), leaseMs: Number(review.dataset.leaseS) * 1000 };
      await decodePictures(nodes);
    } catch {
      return; // without a network the next report comes the slow way
    }
  }

  private isFresh(): boolean {
    const one = this.prepared;
    return one !== null && performance.now() - one.at < one.leaseMs - MARGIN_MS;
  }

  private submitted(event: SubmitEvent): void {
    const form = event.target as HTMLFormElement;
    const review = this.review();
    if (event.defaultPrevented || !review || !this.main.contains(form)) return;
    const isDecision = "decides" in form.dataset;
    if (!isDecision && !("next" in form.dataset)) {
      // Only what leads away from the report gives it back: a question asked or a correction made keeps it.
      this.stays = "stays" in form.dataset;
      return;
    }
    if (!("mine" in review.dataset)) return;
    event.preventDefault();
    void this.goOn(form, isDecision);
  }

  private async goOn(form: HTMLFormElement, isDecision: boolean): Promise<void> {
    if (this.sending && !(await this.sending)) {
      delete form.dataset.submitted; // the former one came back: this one waits until it is settled
      return;
    }
    if (!this.isFresh()) await this.prepare();
    else if (this.preparing && !this.prepared) await this.preparing;
    const next = this.prepared;
    if (!next || !this.isFresh()) {
      this.stays = true; // the plain way; the server leads on from here
      form.submit();
      return;
    }
    const body = new FormData(form);
    const former = this.swap(next);
    if (isDecision) this.sending = this.send(form, body, former).finally(() => (this.sending = null));
    else {
      say(word(this.words, "kept", { code: former.title.split(" ")[1] ?? "" }));
      void this.prepare();
    }
  }

  /** Put a prepared report onto the screen; gives the one that was there. */
  private swap(next: Prepared): Prepared {
    const review = this.review();
    const former: Prepared = {
      id: review?.dataset.review ?? "",
      url: location.href,
      title: document.title,
      nodes: Array.from(this.main.childNodes),
      at: performance.now(),
      leaseMs: Number(review?.dataset.leaseS ?? 0) * 1000,
    };
    this.prepared = null;
    this.main.replaceChildren(...next.nodes);
    document.title = next.title;
    history.pushState(null, "", next.url);
    scrollTo(0, 0);
    this.main.querySelector<HTMLElement>("h1")?.focus({ preventScroll: true });
    this.hooks.shown();
    return former;
  }

  private async send(form: HTMLFormElement, body: FormData, former: Prepared): Promise<boolean> {
    body.set("answer", "json");
    let answer: Response;
    try {
      answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/html, application/json;q=0.9" } });
    } catch {
      this.bringBack(form, former, word(this.words, "unsent"));
      return false;
    }
    if (answer.ok && answer.headers.get("Content-Type")?.startsWith("application/json")) {
      const { said, undo } = (await answer.json()) as { said: string; undo: string | null };
      this.held.delete(former.id);
      say(said, undo ? { undo: [word(this.words, "undo"), () => this.undo(undo)] } : {});
      if (form.id === "grade-form") void this.lookAgain();
      void this.prepare();
      return true;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const again = page.querySelector("#main [data-review]") ? page.getElementById("main") : null;
    if (again) {
      keepTyped(form, again);
      const nodes = [...again.childNodes].map((node) => document.adoptNode(node));
      this.bringBack(form, { ...former, nodes }, readText(page, ".error-summary li") || word(this.words, "failed"));
    } else if (answer.redirected && answer.ok) this.bringBack(form, former, word(this.words, "signed_out"));
    else this.bringBack(form, former, readText(page, "main .lead") || word(this.words, "failed"));
    return false;
  }

  /** The former report again, as it was; the one that had taken its place is kept ready, as it is. */
  private bringBack(form: HTMLFormElement, former: Prepared, why: string): void {
    delete form.dataset.submitted;
    const started = performance.now();
    const now = this.swap(former);
    this.prepared = { ...now, at: started };
    this.main.querySelector<HTMLElement>(".error-summary")?.focus();
    say(why, { kind: "error" });
  }

  /** What was decided may be what this report joins: look again at what it can join and what lies around. */
  private async lookAgain(): Promise<void> {
    const url = location.href;
    try {
      const answer = await fetch(url, { headers: { Accept: "text/html" } });
      if (!answer.ok || location.href !== url) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const fresh of page.querySelectorAll<HTMLElement>("#main [data-live]")) this.renew(fresh);
    } catch {
      return;
    }
  }

  private renew(fresh: HTMLElement): void {
    const part = this.main.querySelector<HTMLElement>(`[data-live="${fresh.dataset.live ?? ""}"]`);
    if (!part || part.contains(document.activeElement) && part.dataset.live === "join") return;
    const chosen = part.querySelector<HTMLInputElement>("input:checked")?.value;
    part.replaceChildren(...Array.from(fresh.childNodes, (node) => document.importNode(node, true)));
    for (const input of part.querySelectorAll<HTMLInputElement>("input[type=radio]")) if (input.value === chosen) input.checked = true;
  }

  private undo(url: string): void {
    const form = Object.assign(document.createElement("form"), { method: "post", action: url, hidden: true });
    for (const [name, value] of this.form()) form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value: String(value) }));
    document.body.append(form);
    form.submit();
  }

  private form(): FormData {
    const fields = new FormData();
    fields.set("csrf_token", document.querySelector<HTMLInputElement>("input[name=csrf_token]")?.value ?? "");
    return fields;
  }

  /** Give back what is held here, but for the report one comes back to. */
  private leave(): void {
    hush();
    const fields = this.form();
    const onScreen = this.review()?.dataset.review;
    for (const id of this.held) if (id && !(this.stays && id === onScreen)) fields.append("report", id);
    if (fields.has("report")) navigator.sendBeacon(word(this.words, "leave"), fields);
  }
}

/** The pictures that are looked at first: decoded before they are shown, so that they are there with the page. */
async function decodePictures(nodes: readonly Node[]): Promise<void> {
  const elements = nodes.filter((node) => node instanceof Element);
  const pictures = elements.flatMap((node) => Array.from(node.querySelectorAll<HTMLImageElement>(".stage img")));
  const decoded = Promise.allSettled(pictures.map((picture) => picture.decode()));
  await Promise.race([decoded, new Promise((resolve) => setTimeout(resolve, PICTURES_MS))]);
}

/** Words that were typed are never lost, even where the page comes back new. */
function keepTyped(form: HTMLFormElement, page: HTMLElement): void {
  for (const field of form.elements) {
    if (!(field instanceof HTMLTextAreaElement)) continue;
    const again = page.querySelector<HTMLTextAreaElement>(`textarea[name="${field.name}"]`);
    if (again && !again.value) again.value = field.value;
  }
}
