/** What a key is called at the desk. Pure; the desk presses whatever on the page carries that key. */

export interface Pressed {
  readonly key: string;
  readonly code: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
  readonly shiftKey: boolean;
}

/** What Chinese keyboards write where others have these. */
const WIDE: Readonly<Record<string, string>> = { "？": "?", "【": "[", "】": "]", "「": "[", "」": "]", "、": "/", "／": "/", "－": "-", "＋": "+", "=": "+" };
/** Keys without letters, by where they lie: for when an input method takes the key itself. */
const PLACES: Readonly<Record<string, string>> = {
  BracketLeft: "[", BracketRight: "]", Minus: "-", Equal: "+", NumpadAdd: "+", NumpadSubtract: "-", NumpadDivide: "/",
};

/**
 * The key's name, lower case, or null for one the desk leaves to the browser: with a modifier held, and keys with names
 * but Escape. An input method that is on gives `Process` for every key: then its place on the keyboard counts.
 */
export function keyOf(pressed: Pressed): string | null {
  if (pressed.ctrlKey || pressed.metaKey || pressed.altKey) return null;
  if (pressed.key === "Escape") return "escape";
  if (pressed.key === "Process" || pressed.key === "Unidentified") return placeOf(pressed);
  if ([...pressed.key].length !== 1) return null;
  return WIDE[pressed.key] ?? pressed.key.toLowerCase().normalize("NFKC");
}

function placeOf(pressed: Pressed): string | null {
  const letter = /^Key([A-Z])$/.exec(pressed.code)?.[1] ?? /^(?:Digit|Numpad)(\d)$/.exec(pressed.code)?.[1];
  if (letter) return letter.toLowerCase();
  if (pressed.code === "Slash") return pressed.shiftKey ? "?" : "/";
  return PLACES[pressed.code] ?? null;
}

const TYPED_INPUTS = new Set(["text", "search", "number", "email", "url", "tel", "password", "date", "datetime-local"]);

/** Whether keys belong to the field that has the focus. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return TYPED_INPUTS.has(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable;
}
