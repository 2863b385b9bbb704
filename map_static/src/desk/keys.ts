/** One key, one act. Pure: which act a key means; the desk carries it out. */

export type Act =
  | { readonly kind: "move"; readonly by: 1 | -1 }
  | { readonly kind: "severity"; readonly rank: 1 | 2 | 3 | 4 }
  | { readonly kind: "help" }
  | { readonly kind: "key"; readonly key: string };

export interface Pressed {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
}

/** The act of a key, or null. Nothing acts with a modifier held: those keys are the browser's. */
export function actOf(pressed: Pressed): Act | null {
  if (pressed.ctrlKey || pressed.metaKey || pressed.altKey) return null;
  switch (pressed.key) {
    case "j":
      return { kind: "move", by: 1 };
    case "k":
      return { kind: "move", by: -1 };
    case "1":
    case "2":
    case "3":
    case "4":
      // The keys follow the rank: 1 blue (IV) to 4 red (I).
      return { kind: "severity", rank: Number(pressed.key) as 1 | 2 | 3 | 4 };
    case "?":
    case "？":
      return { kind: "help" };
    default:
      return pressed.key.length === 1 ? { kind: "key", key: pressed.key.toLowerCase() } : null;
  }
}

const TYPED_INPUTS = new Set(["text", "search", "number", "email", "url", "tel", "password", "date", "datetime-local"]);

/** Whether keys belong to the field that has the focus. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return TYPED_INPUTS.has(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable;
}
