/** The reports kept on this phone: which wait, which were received, which lack something; each with what can be done. */

import { localTime } from "../map/frame";
import type { KeptReport } from "../outbox/store";
import { group, say, type Words } from "../words";

export interface Deeds {
  edit(report: KeptReport): void;
  remove(report: KeptReport): void;
  sendNow(): void;
}

export class KeptList {
  private readonly shares = new Map<string, number>();

  constructor(
    private readonly frame: HTMLElement,
    private readonly words: Words,
    private readonly deeds: Deeds,
  ) {}

  /** How far a report has come, without drawing the list anew. */
  progress(key: string, share: number): void {
    this.shares.set(key, share);
    const line = this.frame.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"] [data-state]`);
    if (line) line.textContent = say(this.words, "kept_sending", { percent: Math.round(share * 100) });
    const bar = this.frame.querySelector<HTMLProgressElement>(`[data-key="${CSS.escape(key)}"] progress`);
    if (bar) {
      bar.hidden = false;
      bar.value = share;
    }
  }

  /** The server asked for some work, which this machine is doing. */
  checking(key: string): void {
    const line = this.frame.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"] [data-state]`);
    if (line) line.textContent = say(this.words, "kept_checking");
  }

  show(reports: readonly KeptReport[]): void {
    this.frame.hidden = reports.length === 0;
    if (reports.length === 0) {
      this.frame.replaceChildren();
      return;
    }
    const title = Object.assign(document.createElement("h2"), { textContent: say(this.words, "kept_title") });
    const list = Object.assign(document.createElement("ul"), { className: "kept-list" });
    list.append(...[...reports].reverse().map((report) => this.row(report)));
    this.frame.replaceChildren(title, list);
  }

  private row(report: KeptReport): HTMLElement {
    const row = Object.assign(document.createElement("li"), { className: `kept kept-${report.state}` });
    row.dataset.key = report.key;
    const kind = group(this.words, "kinds")[String(report.fields.kind)] ?? say(this.words, "kept_no_kind");
    const head = Object.assign(document.createElement("p"), { className: "kept-head", textContent: `${kind} · ${localTime(new Date(report.savedAt).toISOString())}` });
    const state = Object.assign(document.createElement("p"), { className: "kept-state", textContent: this.stateOf(report) });
    state.dataset.state = report.state;
    state.setAttribute("role", "status");
    const bar = Object.assign(document.createElement("progress"), { max: 1, className: "progress", hidden: true });
    bar.setAttribute("aria-label", say(this.words, "kept_waiting"));
    row.append(head, state, bar, this.buttons(report));
    return row;
  }

  private stateOf(report: KeptReport): string {
    if (report.state === "sent") return say(this.words, "kept_sent", { code: report.receipt?.code ?? "" });
    if (report.state === "incomplete") return this.lacks(report);
    if (report.state === "waiting" && (report.notBefore ?? 0) > Date.now()) {
      return say(this.words, "kept_not_before", { time: localTime(new Date(report.notBefore ?? 0).toISOString()) });
    }
    if (report.state === "waiting") return say(this.words, navigator.onLine ? "kept_waiting" : "kept_offline");
    const known = group(this.words, "codes");
    const reasons = Object.values(report.faults).flat().map((code) => known[code] ?? "").filter(Boolean);
    return say(this.words, "kept_refused", { reason: [...new Set(reasons)].join(" ") });
  }

  /** What of it is still to be said, so that nobody has to open it to find out. */
  private lacks(report: KeptReport): string {
    const { fields, photos } = report;
    const hasPlace = "lon" in fields && "lat" in fields;
    const missing = { photo: photos.length === 0, place: !hasPlace, confirmed: hasPlace && fields.place_confirmed !== true, kind: !("kind" in fields) };
    const names = group(this.words, "lacks");
    const what = Object.entries(missing).flatMap(([name, isMissing]) => (isMissing ? [names[name] ?? ""] : []));
    if (what.length === 0) return say(this.words, "kept_incomplete");
    return say(this.words, "kept_lacks", { what: what.join(say(this.words, "between")) });
  }

  private buttons(report: KeptReport): HTMLElement {
    const group = Object.assign(document.createElement("div"), { className: "cluster" });
    if (report.receipt) {
      const link = Object.assign(document.createElement("a"), { className: "button", href: new URL(report.receipt.followUrl).pathname, textContent: say(this.words, "kept_follow") });
      group.append(link);
    }
    if (report.state === "incomplete" || report.state === "refused") group.append(this.button("kept_edit", () => this.deeds.edit(report), "button-primary"));
    if (report.state === "waiting") {
      group.append(this.button("kept_send_now", () => this.deeds.sendNow()));
      group.append(this.button("kept_edit", () => this.deeds.edit(report)));
    }
    group.append(
      this.button(report.state === "sent" ? "kept_forget" : "kept_remove", () => {
        const question = say(this.words, report.state === "sent" ? "kept_forget_sure" : "kept_remove_sure");
        if (confirm(question)) this.deeds.remove(report);
      }),
    );
    return group;
  }

  private button(words: string, act: () => void, kind = "button-quiet"): HTMLElement {
    const button = Object.assign(document.createElement("button"), { type: "button", className: `button ${kind}`, textContent: say(this.words, words) });
    button.addEventListener("click", act);
    return button;
  }
}
